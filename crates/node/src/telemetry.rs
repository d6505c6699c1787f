//! Logs to standard error, as text or JSON; panics go through them too.

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogConfig, LogFormat};

/// Installs the subscriber. Once a process; a second call leaves the first.
///
/// # Errors
/// A level that is no filter.
pub fn init(config: &LogConfig) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.level).map_err(|error| format!("log.level {:?}: {error}", config.level))?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(backtrace = %std::backtrace::Backtrace::capture(), "{panic}");
    }));
    Ok(())
}
