//! Waiting for a change: a bar on a terminal, a line at each turn elsewhere. Whoever stops waiting stops nothing else.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use dynamo_client::Client;
use dynamo_wire::v1::ProgressResponse;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};

use super::tracker::{Heard, Over, Tracker, UnderWay};
use crate::failure::{Exit, Failure};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(300);
/// When nobody answers for so long, there is nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(60);
/// The bar's length stands for the whole change.
const WHOLE: u64 = 1000;
const BAR: &str = "{spinner} {prefix}\n  [{bar:40}] {percent:>3}%  {msg}";

/// How waiting ended.
pub enum Waited {
    Over(Over),
    /// Somebody pressed Ctrl-C: the change goes on.
    Stopped,
}

/// Waits for the end of a change; 0: of whatever is under way.
///
/// # Errors
/// No node answers for a minute.
pub async fn until_over(client: &Client, change: u64) -> Result<Waited, Failure> {
    let mut show = Show::new();
    let mut tracker = Tracker::new(change);
    let began = Instant::now();
    let waited = poll(client, |answer| {
        let heard = match answer {
            Ok(answer) => tracker.hear(began.elapsed(), answer),
            Err(error) => {
                show.trouble(error);
                return None;
            }
        };
        match heard {
            Heard::Nothing => None,
            Heard::UnderWay(under_way) => {
                show.under_way(&under_way);
                None
            }
            Heard::Over(over) => Some(over),
        }
    })
    .await;
    show.end();
    Ok(waited?.map_or(Waited::Stopped, Waited::Over))
}

/// Looks again and again until `look` has seen enough; nothing if somebody pressed Ctrl-C before.
///
/// # Errors
/// No node answers for a minute.
pub async fn poll<T>(
    client: &Client,
    mut look: impl FnMut(Result<&ProgressResponse, &dynamo_client::Error>) -> Option<T>,
) -> Result<Option<T>, Failure> {
    let looking = async {
        let mut answered = Instant::now();
        loop {
            let answer = client.ring_changes().progress().await;
            if let Some(seen) = look(answer.as_ref()) {
                return Ok(seen);
            }
            match answer {
                Ok(_) => answered = Instant::now(),
                Err(error) if answered.elapsed() > PATIENCE => return Err(given_up(&error)),
                Err(_) => {}
            }
            sleep(EVERY).await;
        }
    };
    tokio::select! {
        seen = looking => seen.map(Some),
        _ = tokio::signal::ctrl_c() => Ok(None),
    }
}

fn given_up(error: &dynamo_client::Error) -> Failure {
    Failure::unavailable(format!(
        "no node has answered for {} s, and this stops waiting ({error}). The change goes on by itself once they are back: \
         see `dynamo ring status`",
        PATIENCE.as_secs()
    ))
}

/// Tells somebody who has pressed Ctrl-C what goes on.
pub fn stopped() -> Failure {
    eprintln!(
        "\nStopped waiting. The change goes on by itself:\n  \
         dynamo ring status --watch   # how far it is\n  \
         dynamo ring cancel           # takes it back"
    );
    Failure::Silent(Exit::Unavailable)
}

/// The same, of a node that has not begun to join.
pub fn stopped_before(id: &str) -> Failure {
    eprintln!("\nStopped: {id} runs and has not joined. Go on with the same command.");
    Failure::Silent(Exit::Unavailable)
}

/// What is seen meanwhile.
struct Show {
    bar: Option<ProgressBar>,
    /// The last line, where there is no bar.
    told: String,
}

impl Show {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(BAR).expect("the template is valid").progress_chars("=> ");
            let bar = ProgressBar::new(WHOLE).with_style(style).with_prefix("waiting for the first news");
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, told: String::new() }
    }

    fn under_way(&mut self, under_way: &UnderWay) {
        let blocked = &under_way.change.blocked_by;
        let blocked: String = blocked.iter().map(|why| format!("\n  waits: {why}")).collect();
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(format!("{}: {}", under_way.what(), under_way.phase()));
                bar.set_position((under_way.done * WHOLE as f64) as u64);
                bar.set_message(format!("{}{blocked}", under_way.figures()));
            }
            None => self.tell(format!("{}: {}{blocked}", under_way.what(), under_way.phase())),
        }
    }

    fn trouble(&mut self, error: &dynamo_client::Error) {
        match &self.bar {
            Some(bar) => bar.set_message(format!("no news: {error}")),
            None => self.tell(format!("no news: {error}")),
        }
    }

    /// Once each.
    fn tell(&mut self, line: String) {
        if self.told != line {
            eprintln!("{line}");
            self.told = line;
        }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_bar_is_valid() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}
