//! The provider behind an endpoint, recognised by its host name.

use reqwest::Url;

/// A provider of chat completions, in the terms of `gen_ai.provider.name` (OpenTelemetry GenAI conventions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider(&'static str);

impl Provider {
    pub const OPENAI: Self = Self("openai");
    pub const AZURE: Self = Self("azure.ai.openai");
    pub const ANTHROPIC: Self = Self("anthropic");
    const AZURE_AI: Self = Self("azure.ai.inference");
    const OLLAMA: Self = Self("ollama");

    /// Hosts and their providers. A host matches if it is equal or ends with a dot and the name; a name that begins with
    /// a hyphen matches any host that ends with it.
    const BY_HOST: [(&str, Self); 20] = [
        ("api.openai.com", Self::OPENAI),
        ("openai.azure.com", Self::AZURE),
        ("openai.azure.us", Self::AZURE),
        ("openai.azure.cn", Self::AZURE),
        ("cognitiveservices.azure.com", Self::AZURE),
        ("services.ai.azure.com", Self::AZURE_AI),
        ("api.groq.com", Self("groq")),
        ("openrouter.ai", Self("openrouter")),
        ("api.deepseek.com", Self("deepseek")),
        ("api.mistral.ai", Self("mistral_ai")),
        ("api.x.ai", Self("x_ai")),
        ("api.perplexity.ai", Self("perplexity")),
        ("api.anthropic.com", Self::ANTHROPIC),
        ("api.cohere.ai", Self("cohere")),
        ("api.cohere.com", Self("cohere")),
        ("generativelanguage.googleapis.com", Self("gcp.gemini")),
        ("aiplatform.googleapis.com", Self("gcp.vertex_ai")),
        ("-aiplatform.googleapis.com", Self("gcp.vertex_ai")),
        ("api.moonshot.ai", Self("moonshot_ai")),
        ("api.moonshot.cn", Self("moonshot_ai")),
    ];
    const BEDROCK: Self = Self("aws.bedrock");
    /// Ollama's default port.
    const OLLAMA_PORT: u16 = 11434;

    /// The provider behind `url`; `openai` if none is recognised, because the protocol is OpenAI's.
    pub fn of(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let is = |end: &str| {
            host.strip_suffix(end)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.') || end.starts_with('-'))
        };
        let is_openai_surface = url.path().starts_with("/openai/");
        match Self::BY_HOST.iter().find(|(end, _)| is(end)) {
            // A resource of Azure's AI services offers OpenAI's API beside its own.
            Some((_, Self::AZURE_AI)) if is_openai_surface => Self::AZURE,
            Some((_, provider)) => *provider,
            // Other hosts under amazonaws.com belong to AWS customers.
            None if host.starts_with("bedrock-") && host.ends_with(".amazonaws.com") => {
                Self::BEDROCK
            }
            None if url.port() == Some(Self::OLLAMA_PORT) => Self::OLLAMA,
            None => Self::OPENAI,
        }
    }

    pub fn name(self) -> &'static str {
        self.0
    }

    /// The provider's name of the field that limits output tokens.
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
    fn the_help_topic_names_every_provider() {
        let topic = include_str!("../cli/help/mapping.md");
        let known = Provider::BY_HOST.iter().map(|(_, provider)| *provider);
        for provider in known.chain([Provider::BEDROCK, Provider::OLLAMA]) {
            let cell = format!("| `{}` |", provider.name());
            assert!(topic.contains(&cell), "{cell}");
        }
    }

    #[test]
    fn providers_are_recognised_by_host() {
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
        assert_eq!(
            provider("https://r.services.ai.azure.com/models"),
            "azure.ai.inference"
        );
        assert_eq!(
            provider("https://r.services.ai.azure.com/openai/v1"),
            "azure.ai.openai"
        );
        assert_eq!(
            provider("https://aiplatform.googleapis.com/v1"),
            "gcp.vertex_ai"
        );
        assert_eq!(
            provider("https://vllm.us-east-1.elb.amazonaws.com/v1"),
            "openai"
        );
    }
}
