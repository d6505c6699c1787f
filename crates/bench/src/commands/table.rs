//! `dynamo-bench table`: medians and ratios of rows that were kept.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::{
    rows::{Row, read},
    show,
};

/// The table of `compare` again, of the rows in these files
#[derive(Debug, clap::Args)]
pub struct Command {
    /// Files of rows, as `compare` appends them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Command {
    /// Prints it.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn run(self) -> Result<()> {
        let files: Vec<Vec<Row>> = self.files.iter().map(|file| read(file)).collect::<Result<_>>()?;
        let rows = files.concat();
        ensure!(!rows.is_empty(), "there are no rows");
        show::print(&show::compared(&rows, &[]))
    }
}
