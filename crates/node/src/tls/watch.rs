//! Looks at the files now and then. A mounted Secret changes by a link that is put in place of another, which a watcher of
//! the file system sees badly or not at all.

use std::{sync::Arc, time::Duration};

use metrics::{counter, describe_counter, describe_gauge, gauge};
use tokio::sync::watch;

use super::{NodeTls, Report, Trouble};
use crate::membership::Membership;

/// Until `stop` turns true. What is loaded is told to the others.
pub async fn watch(tls: Arc<NodeTls>, membership: Arc<Membership>, every: Duration, mut stop: watch::Receiver<bool>) {
    describe_gauge!("dynamo_tls_loaded", "1 for what is loaded: this node's certificate, and each authority it trusts");
    describe_gauge!("dynamo_tls_certificate_not_after_seconds", "Until when this node's certificate is valid");
    describe_gauge!(
        "dynamo_tls_problem",
        "1 while the node's status says that something is wrong with its certificate"
    );
    describe_counter!("dynamo_tls_reloads_total", "Looks at changed files, by whether what they hold could be used");
    let mut shown = tls.report();
    show(&shown, 1.0);
    membership.set_credentials(&shown);
    let mut told = [String::new(), String::new()];
    let mut is_good = true;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(every) => {}
        }
        let reader = tls.clone();
        let read = tokio::task::spawn_blocking(move || [reader.reload_files(), reader.reload_tokens()]);
        let Ok(read) = read.await else { continue };
        for ((outcome, told), what) in read.into_iter().zip(&mut told).zip(["certificates", "tokens"]) {
            note(what, outcome, told);
        }
        tls.note(Trouble::Files, &told[0]);
        tls.note(Trouble::Tokens, &told[1]);
        let report = tls.report();
        if is_good && !report.problem.is_empty() {
            tracing::error!("something is wrong with this node's certificate or tokens: {}", report.problem);
        }
        is_good = report.problem.is_empty();
        if report != shown {
            show(&shown, 0.0);
            show(&report, 1.0);
            membership.set_credentials(&report);
            shown = report;
        }
    }
}

/// The same failure is told once.
fn note(what: &'static str, outcome: Result<bool, String>, told: &mut String) {
    match outcome {
        Ok(false) => told.clear(),
        Ok(true) => {
            told.clear();
            counter!("dynamo_tls_reloads_total", "what" => what, "outcome" => "loaded").increment(1);
            tracing::info!(what, "the files have changed, and were loaded");
        }
        Err(why) if *told == why => {}
        Err(why) => {
            counter!("dynamo_tls_reloads_total", "what" => what, "outcome" => "failed").increment(1);
            tracing::error!(what, "the files have changed, and can't be used; what was loaded before stays: {why}");
            *told = why;
        }
    }
}

fn show(report: &Report, value: f64) {
    gauge!("dynamo_tls_loaded", "what" => "certificate", "fingerprint" => report.certificate.clone()).set(value);
    for authority in &report.trusted {
        gauge!("dynamo_tls_loaded", "what" => "authority", "fingerprint" => authority.clone()).set(value);
    }
    gauge!("dynamo_tls_certificate_not_after_seconds").set(report.until_s as f64);
    gauge!("dynamo_tls_problem").set(if report.problem.is_empty() { 0.0 } else { value });
}
