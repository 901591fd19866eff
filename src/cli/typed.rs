//! Options together with the texts that were typed for them.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

/// Parsed options, and what of them the command line holds.
#[derive(Debug)]
pub struct Typed<T> {
    pub options: T,
    /// Names of fields, each with its texts in their order.
    pub texts: Vec<(String, Vec<String>)>,
}

impl<T: Args> Args for Typed<T> {
    fn augment_args(command: Command) -> Command {
        T::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

impl<T: Args> FromArgMatches for Typed<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self {
            texts: texts(matches),
            options: T::from_arg_matches(matches)?,
        })
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        Ok(Self {
            texts: texts(matches),
            options: T::from_arg_matches_mut(matches)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.texts = texts(matches);
        self.options.update_from_arg_matches(matches)
    }
}

fn texts(matches: &ArgMatches) -> Vec<(String, Vec<String>)> {
    let ids = matches.ids().map(clap::Id::as_str);
    let typed = ids.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
    typed
        .filter_map(|id| {
            let texts = matches.try_get_raw(id).ok()??;
            let texts = texts.map(|text| text.to_string_lossy().into_owned());
            Some((id.to_owned(), texts.collect()))
        })
        .collect()
}
