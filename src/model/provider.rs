//! Who is behind an endpoint, as far as its host name tells.

use reqwest::Url;

/// A provider of chat completions, in the terms of `gen_ai.provider.name` (OpenTelemetry GenAI conventions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider(&'static str);

impl Provider {
    pub const OPENAI: Self = Self("openai");
    pub const AZURE: Self = Self("azure.ai.openai");
    const OLLAMA: Self = Self("ollama");

    /// Hosts, or the domains that end them, and their providers.
    const BY_HOST: [(&str, Self); 17] = [
        ("api.openai.com", Self::OPENAI),
        ("openai.azure.com", Self::AZURE),
        ("cognitiveservices.azure.com", Self::AZURE),
        ("services.ai.azure.com", Self("azure.ai.inference")),
        ("api.groq.com", Self("groq")),
        ("openrouter.ai", Self("openrouter")),
        ("api.deepseek.com", Self("deepseek")),
        ("api.mistral.ai", Self("mistral_ai")),
        ("api.x.ai", Self("x_ai")),
        ("api.perplexity.ai", Self("perplexity")),
        ("api.anthropic.com", Self("anthropic")),
        ("api.cohere.ai", Self("cohere")),
        ("api.cohere.com", Self("cohere")),
        ("generativelanguage.googleapis.com", Self("gcp.gemini")),
        ("aiplatform.googleapis.com", Self("gcp.vertex_ai")),
        ("api.moonshot.ai", Self("moonshot_ai")),
        ("amazonaws.com", Self("aws.bedrock")),
    ];
    /// The port that an Ollama listens on unless told otherwise.
    const OLLAMA_PORT: u16 = 11434;

    /// The provider behind `url`; `openai` where none is recognised, since that is the protocol spoken.
    pub fn of(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let is = |domain: &str| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        match Self::BY_HOST.iter().find(|(domain, _)| is(domain)) {
            Some((_, provider)) => *provider,
            None if url.port() == Some(Self::OLLAMA_PORT) => Self::OLLAMA,
            None => Self::OPENAI,
        }
    }

    pub fn name(self) -> &'static str {
        self.0
    }

    /// The name that the provider gives to the limit of output tokens.
    pub fn max_tokens_field(self, url: &Url) -> &'static str {
        if self == Self::AZURE || url.host_str() == Some("api.openai.com") {
            "max_completion_tokens"
        } else {
            "max_tokens"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_tell_their_provider() {
        let provider = |url: &str| Provider::of(&Url::parse(url).unwrap()).name();
        assert_eq!(provider("https://api.openai.com/v1"), "openai");
        assert_eq!(
            provider("https://my.openai.azure.com/openai/v1"),
            "azure.ai.openai"
        );
        assert_eq!(provider("http://localhost:11434/v1"), "ollama");
        assert_eq!(provider("https://notapi.openai.com.example/v1"), "openai");
        assert_eq!(provider("https://eviopenrouter.ai/v1"), "openai");
        assert_eq!(provider("https://openrouter.ai/api/v1"), "openrouter");
    }
}
