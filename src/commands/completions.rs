//! `langspan completions SHELL`: the scripts that lie in `completions/`, from inside the binary.

use crate::cli::{self, Shell};
use crate::console::OutputFormat;
use crate::failure::{Failure, Verdict};
use crate::output::Printer;

/// # Errors
/// When stdout cannot be written.
pub fn run(options: &cli::CompletionsArgs) -> Result<Verdict, Failure> {
    let mut printer = Printer::new(OutputFormat::Text);
    printer.text(script(options.shell));
    printer
        .take_failure()
        .map_or_else(|| Ok(Verdict::default()), Err)
}

fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("../../completions/langspan.bash"),
        Shell::Zsh => include_str!("../../completions/_langspan"),
        Shell::Fish => include_str!("../../completions/langspan.fish"),
        Shell::Powershell => include_str!("../../completions/_langspan.ps1"),
        Shell::Elvish => include_str!("../../completions/langspan.elv"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{env, fs};

    use clap::CommandFactory;
    use clap_complete::Shell as Target;

    use crate::cli::Cli;

    /// Compares a committed file with what the command tree gives; `LANGSPAN_UPDATE=1` rewrites it.
    fn is_up_to_date(name: &str, generated: &[u8]) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("completions")
            .join(name);
        if env::var_os("LANGSPAN_UPDATE").is_some() {
            fs::write(&path, generated).unwrap();
        }
        let committed = fs::read(&path).unwrap();
        assert!(
            committed == generated,
            "completions/{name} is out of date: run LANGSPAN_UPDATE=1 cargo test up_to_date"
        );
    }

    #[test]
    fn completion_scripts_are_up_to_date() {
        for (target, name) in [
            (Target::Bash, "langspan.bash"),
            (Target::Zsh, "_langspan"),
            (Target::Fish, "langspan.fish"),
            (Target::PowerShell, "_langspan.ps1"),
            (Target::Elvish, "langspan.elv"),
        ] {
            let mut generated = Vec::new();
            clap_complete::generate(target, &mut Cli::command(), "langspan", &mut generated);
            is_up_to_date(name, &generated);
        }
    }

    #[test]
    fn the_man_page_is_up_to_date() {
        let mut command = Cli::command();
        command.build();
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone())
            .render(&mut page)
            .unwrap();
        for verb in command
            .get_subcommands()
            .filter(|verb| verb.get_name() != "help")
        {
            let man = clap_mangen::Man::new(verb.clone());
            page.extend(format!(".SH \"LANGSPAN {}\"\n", verb.get_name().to_uppercase()).bytes());
            man.render_description_section(&mut page).unwrap();
            man.render_options_section(&mut page).unwrap();
        }
        is_up_to_date("langspan.1", &page);
    }
}
