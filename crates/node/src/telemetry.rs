//! Logs to standard error, as text or JSON; panics go through them too.

use std::fmt::Display;

use tracing::{Level, Subscriber};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

use crate::config::{LogConfig, LogFormat};

/// Installs the subscriber. Once a process; a second call leaves the first.
///
/// # Errors
/// A level that is no filter.
pub fn init(config: &LogConfig) -> Result<(), String> {
    let filter = filter(&config.level).map_err(|error| format!("log.level: {error}"))?;
    let _ = tracing::subscriber::set_global_default(subscriber(config.format, filter));
    let otherwise = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if tracing::enabled!(Level::ERROR) {
            tracing::error!(backtrace = %std::backtrace::Backtrace::capture(), "{panic}");
        } else {
            otherwise(panic);
        }
    }));
    Ok(())
}

/// Why the process ends: one log line, also where the filter keeps errors back.
pub fn last_words(config: &LogConfig, error: &dyn Display) {
    if tracing::enabled!(Level::ERROR) {
        tracing::error!("{error}");
    } else {
        let unfiltered = subscriber(config.format, EnvFilter::default().add_directive(LevelFilter::ERROR.into()));
        tracing::subscriber::with_default(unfiltered, || tracing::error!("{error}"));
    }
}

fn subscriber(format: LogFormat, filter: EnvFilter) -> Box<dyn Subscriber + Send + Sync> {
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().finish()),
    }
}

/// Reads a level, or a filter as `tracing` takes it: `info,dynamo_node::handoff=debug`.
///
/// # Errors
/// It is none; and what one looks like.
pub fn filter(level: &str) -> Result<EnvFilter, String> {
    let parts: Vec<&str> = level.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let wrong = |why: &str| {
        format!(
            "{level:?} {why}; expected error, warn, info, debug, trace or off, or a filter like info,dynamo_node=debug"
        )
    };
    if parts.is_empty() {
        return Err(wrong("names no level"));
    }
    // To `EnvFilter` a word alone is a module of which everything is wanted. A misspelt level would silence all others.
    let is_word = |part: &str| !part.contains(['=', '[', ':']);
    if let Some(word) = parts.iter().find(|part| is_word(part) && part.parse::<LevelFilter>().is_err()) {
        return Err(wrong(&format!("has the level {word:?}, which there is not")));
    }
    // Without spaces: its parser takes those before a part for some of it.
    EnvFilter::try_new(parts.join(",")).map_err(|error| wrong(&format!("is no filter ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_taken_and_misspelt_ones_are_not() {
        for good in
            ["info", "INFO", "off", " warn ", "info, dynamo_node=debug", "dynamo_node::link=trace,warn", "[span]=debug"]
        {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["", ",", "inof", "info,loud", "dynamo_node=loud", "info=debug=x", "a[b", "info, é=é", "=", "☃"]
        {
            let error = filter(bad).unwrap_err();
            assert!(error.contains("expected error, warn"), "{error}");
        }
    }

    #[test]
    fn arbitrary_filters_never_panic() {
        bolero::check!().with_iterations(5_000).for_each(|bytes: &[u8]| {
            let _ = filter(&String::from_utf8_lossy(bytes));
        });
    }
}
