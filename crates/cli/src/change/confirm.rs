//! The question before something is changed. Asked on a terminal only: what answers in its place says `--yes`.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::{Exit, Failure};

/// What a person has to answer.
#[derive(Debug, Clone)]
pub enum Question {
    /// Yes or no.
    Apply,
    /// The names of nodes whose data may be lost with them, typed.
    Names(Vec<String>),
}

/// Asks, unless `yes` was said beforehand.
///
/// # Errors
/// The answer is no, or there is nobody to ask.
pub fn ask(question: &Question, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "nothing was changed: there is no terminal to ask on. Look at the plan, and confirm with --yes",
        ));
    }
    let prompt = match question {
        Question::Apply => "Apply this? [y/N] ".to_owned(),
        Question::Names(names) => {
            let what = if names.len() == 1 { "the name of the node" } else { "the names of the nodes" };
            format!("This can't be taken back once it is done. Type {what} to go on ({}): ", names.join(" "))
        }
    };
    let mut answer = String::new();
    let asked = || -> io::Result<()> {
        let mut out = io::stderr().lock();
        out.write_all(prompt.as_bytes())?;
        out.flush()?;
        io::stdin().lock().read_line(&mut answer)?;
        Ok(())
    };
    let mut asked = asked;
    asked().map_err(|error| Failure::file("nothing was changed: the answer can't be read", &error))?;
    if agrees(question, &answer) {
        return Ok(());
    }
    eprintln!("Nothing was changed.");
    Err(Failure::Silent(Exit::Usage))
}

fn agrees(question: &Question, answer: &str) -> bool {
    match question {
        Question::Apply => ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()),
        Question::Names(names) => answer.split_whitespace().eq(names.iter().map(String::as_str)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_is_yes_and_all_else_is_no() {
        assert!(["y\n", "Y", " yes \n", "YES"].iter().all(|answer| agrees(&Question::Apply, answer)));
        assert!(["", "\n", "n", "no", "yesterday", "node-1"].iter().all(|answer| !agrees(&Question::Apply, answer)));
    }

    #[test]
    fn only_the_very_names_will_do() {
        let names = Question::Names(vec!["node-1".into(), "node-2".into()]);
        assert!(agrees(&names, "node-1  node-2\n"));
        for answer in ["", "y", "yes", "node-1", "node-2 node-1", "node-1 node-2 node-3", "node-1, node-2"] {
            assert!(!agrees(&names, answer), "{answer}");
        }
    }
}
