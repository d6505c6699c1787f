//! All of the paper's experiments, one after the other.

use anyhow::Result;
use clap::{FromArgMatches, Subcommand};

use super::{
    Experiment, Output, Results,
    measured::{Measured, Rate},
};

/// All of them, each with its own flags' defaults but for these (loads real nodes)
#[derive(Debug, Clone, clap::Args)]
pub struct Command {
    #[command(flatten)]
    pub measured: Measured,
    #[command(flatten)]
    pub rate: Rate,
    /// Of what is computed
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
}

impl Command {
    /// Runs them. What has ended is kept when a later one fails.
    pub async fn run(&self, output: &Output) -> Result<Results> {
        let mut all = Results::default();
        for name in ["fig4", "fig5", "fig6", "fig8", "table2", "versions"] {
            // Boxed, since one of them would be this.
            let results = Box::pin(self.one(name)?.run(output.clone())).await?;
            all.rows.extend(results.rows);
            all.text += &format!("{name}\n\n{}\n", results.text);
        }
        Ok(all)
    }

    /// With its defaults, and what was said to this.
    fn one(&self, name: &str) -> Result<Experiment> {
        let command = Experiment::augment_subcommands(clap::Command::new("paper"));
        let mut experiment = Experiment::from_arg_matches(&command.try_get_matches_from(["paper", name])?)?;
        match &mut experiment {
            Experiment::Fig4(one) | Experiment::Fig5(one) => {
                (one.measured, one.rate) = (self.measured.clone(), self.rate);
            }
            Experiment::Table2(one) => (one.measured, one.rate) = (self.measured.clone(), self.rate),
            Experiment::Versions(one) => one.measured = self.measured.clone(),
            Experiment::Fig6(one) => one.seed = self.seed,
            Experiment::Fig8(one) => one.seed = self.seed,
            Experiment::All(_) => unreachable!("it is none of them"),
        }
        Ok(experiment)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        experiment: Experiment,
    }

    fn all(flags: &str) -> Command {
        match Cli::try_parse_from(["paper", "all"].into_iter().chain(flags.split(' '))).unwrap().experiment {
            Experiment::All(command) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_is_told_what_was_said_and_keeps_its_own_defaults() {
        let all = all("--rate 77 --keys 5 --seed 9 --busy");
        let Experiment::Fig5(fig5) = all.one("fig5").unwrap() else { panic!() };
        assert_eq!((fig5.rate.per_s, fig5.measured.keys, fig5.measured.busy, fig5.every), (77, 5, true, 10));
        let Experiment::Table2(table2) = all.one("table2").unwrap() else { panic!() };
        assert_eq!((table2.rate.per_s, table2.measured.keys, table2.nodes), (77, 5, 6));
        let Experiment::Versions(versions) = all.one("versions").unwrap() else { panic!() };
        assert_eq!((versions.measured.keys, versions.editors, versions.skew), (5, 32, vec![0.0, 0.9]));
        let Experiment::Fig6(fig6) = all.one("fig6").unwrap() else { panic!() };
        assert_eq!((fig6.seed, fig6.keys), (9, 1_000_000));
        let Experiment::Fig8(fig8) = all.one("fig8").unwrap() else { panic!() };
        assert_eq!((fig8.seed, fig8.samples), (9, 25));
    }
}
