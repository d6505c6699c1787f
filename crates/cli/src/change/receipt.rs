//! Whether a node may be switched off for good: it owns nothing, holds nothing for others, and all that it had is
//! elsewhere.

use std::time::Duration;

use dynamo_client::Client;
use dynamo_wire::v1::ReceiptResponse;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{preview::counted, watch};
use crate::failure::Failure;

/// Between two questions.
const EVERY: Duration = Duration::from_millis(500);
/// So long a node that has just given its part up may take to drop what is left; then its receipt is told as it is.
const PATIENCE: Duration = Duration::from_secs(120);

/// The receipt of a node whose change is over: once it is complete, or as it is when time is up.
///
/// # Errors
/// The node can't be asked, or somebody stopped waiting.
pub async fn wait_for(client: &Client, node: &str) -> Result<ReceiptResponse, Failure> {
    let until = Instant::now() + PATIENCE;
    // Draws on a terminal only.
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    let waiting = async {
        loop {
            let receipt = client.ring_changes().receipt(node).await?;
            if receipt.complete || Instant::now() >= until {
                return Ok(receipt);
            }
            spinner.set_message(format!("{node}: {}", receipt.missing.first().map_or("not done yet", String::as_str)));
            sleep(EVERY).await;
        }
    };
    let ended = tokio::select! {
        ended = waiting => ended,
        _ = tokio::signal::ctrl_c() => Err(watch::stopped()),
    };
    spinner.finish_and_clear();
    ended
}

/// For people.
pub fn text(receipt: &ReceiptResponse) -> String {
    let ReceiptResponse { node, epoch, tokens, homes, leftovers, hints, missing, .. } = receipt;
    if receipt.complete {
        return format!(
            "{node} may be switched off for good: at epoch {epoch} it owns nothing, holds nothing for others, and all that \
             it had is elsewhere."
        );
    }
    let missing: String = missing.iter().map(|sentence| format!("\n  - {sentence}")).collect();
    format!(
        "{node} must not be switched off for good yet. At epoch {epoch} it owns {}, is a home of {}, has records left of {}, \
         and holds {} for others.{missing}",
        counted(*tokens, "token"),
        counted(*homes, "partition"),
        counted(*leftovers, "partition"),
        if *hints == 1 { "1 hint".to_owned() } else { format!("{hints} hints") },
    )
}

/// For programs.
pub fn document(receipt: &ReceiptResponse) -> Value {
    json!({
        "node": receipt.node, "complete": receipt.complete, "epoch": receipt.epoch, "tokens": receipt.tokens,
        "homes": receipt.homes, "leftovers": receipt.leftovers, "hints": receipt.hints, "missing": receipt.missing,
        "incarnation": receipt.incarnation, "left": receipt.left,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_who_reads_an_incomplete_receipt_takes_it_for_a_complete_one() {
        let missing = vec!["17 hints wait for node-3, which is down".to_owned()];
        let mut receipt = ReceiptResponse { node: "node-1".into(), hints: 17, epoch: 4, missing, ..Default::default() };
        let told = text(&receipt);
        assert!(told.contains("must not") && told.contains("17 hints for others") && told.contains("- 17 hints wait"));
        assert!(!told.contains("may be"));
        (receipt.complete, receipt.hints) = (true, 0);
        assert!(text(&receipt).contains("may be switched off"));
        assert_eq!(document(&receipt)["complete"], true);
    }
}
