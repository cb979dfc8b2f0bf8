//! Printing. A reader that has left (`threatguard ... | head`) ends the output quietly; hostile text is made inert.

use std::io::{ErrorKind, Write};

use crate::core::printable::{is_unsafe, printable};
use crate::error::{Error, Result};

/// Prints text that was made here, or was made [`printable`] before.
///
/// # Errors
/// `Permanent`: standard output cannot take it, as on a full disk.
pub fn print(text: &str) -> Result<()> {
    written(std::io::stdout().lock().write_all(text.as_bytes()).and_then(|()| std::io::stdout().lock().flush()))
}

/// What became of writing to standard output: a reader that has left is no error.
///
/// # Errors
/// `Permanent`: anything else.
pub fn written(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(failure) if failure.kind() != ErrorKind::BrokenPipe => {
            Err(Error::permanent("cannot write to standard output").because(failure))
        }
        _ => Ok(()),
    }
}

/// JSON that says the same and does nothing to a terminal: what JSON leaves as it is (C1, DEL, bidirectional marks) is escaped.
#[must_use]
pub fn inert(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unsafe(character) && character != '\n' {
            character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        } else {
            text.push(character);
        }
    }
    text
}

/// Prints a record for programs, on several lines.
///
/// # Errors
/// As for [`print`].
pub fn json(record: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(record).map_err(|failure| Error::bug("a record is no JSON").because(failure))?;
    print(&inert(&format!("{text}\n")))
}

/// Shows an error, every line of it made inert, because it may quote a file.
pub fn error(error: &Error) {
    note("error", &error.to_string());
}

/// Shows a warning.
pub fn warning(text: &str) {
    note("warning", text);
}

/// Columns side by side, each as wide as its widest cell.
#[must_use]
pub fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{:width$}", printable(cell))).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Says on standard error what was chosen or opened.
pub fn notice(text: &str) {
    note("threatguard", text);
}

fn note(kind: &str, text: &str) {
    let mut stderr = std::io::stderr().lock();
    for (place, line) in text.lines().enumerate() {
        let lead = if place == 0 { format!("{kind}: ") } else { " ".repeat(kind.len() + 2) };
        // There is nobody left to tell when this fails.
        writeln!(stderr, "{lead}{}", printable(line)).ok();
    }
}
