//! The usual libraries, timed by a Python process on the same rows, a round whenever it is told.
//!
//! Must never go unsaid that they were left out.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use threatguard::core::features::row::ModelRow;

use crate::Figures;

pub struct Peers {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Name and version of each model's library.
    libraries: BTreeMap<String, String>,
    _files: tempfile::TempDir,
}

impl Peers {
    /// None where they cannot run: which it says, with what would mend it.
    pub fn start(python: &str, rows: &[ModelRow], labels: &[f32]) -> Option<Self> {
        match Self::try_start(python, rows, labels) {
            Ok(peers) => Some(peers),
            Err(problem) => {
                println!(
                    "scikit-learn, XGBoost and ONNX Runtime: SKIPPED, {problem}; `python3 benches/models/peers.py set-up` installs them"
                );
                None
            }
        }
    }

    fn try_start(python: &str, rows: &[ModelRow], labels: &[f32]) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let files = tempfile::tempdir().map_err(text)?;
        let (rows_file, labels_file) = (files.path().join("rows"), files.path().join("labels"));
        write(&rows_file, rows.as_flattened())?;
        write(&labels_file, labels)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/models/peers.py");
        let mut command = Command::new(if python.is_empty() { interpreter() } else { python.into() });
        command.arg(script).arg("time").args([rows_file, labels_file]);
        // Libraries start threads of their own unless told not to.
        command.envs(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"].map(|name| (name, "1")));
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(|error| format!("Python does not start ({error})"))?;
        let (Some(orders), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("Python has no pipes".into());
        };
        let mut answers = BufReader::new(answers);
        let mut first = String::new();
        answers.read_line(&mut first).map_err(text)?;
        let Ok(libraries) = serde_json::from_str(&first) else {
            let output = process.wait_with_output().map_err(text)?;
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(said.lines().last().unwrap_or("Python ended without a word").to_owned());
        };
        Ok(Self { process, orders, answers, libraries, _files: files })
    }

    pub fn library(&self, model: &str) -> &str {
        self.libraries.get(model).map_or("the three in sum", String::as_str)
    }

    pub fn round(&mut self, figures: &mut Figures) -> Result<(), String> {
        let mut line = String::new();
        self.orders.write_all(b"\n").and_then(|()| self.answers.read_line(&mut line)).map_err(|error| format!("the libraries: {error}"))?;
        let nanos: BTreeMap<String, f64> = serde_json::from_str(&line).map_err(|error| format!("the libraries ended: {error}"))?;
        nanos.into_iter().for_each(|(name, nanos)| figures.add(name, nanos));
        Ok(())
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // Nothing is lost with it; it may have ended of its own.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn write(path: &Path, values: &[f32]) -> Result<(), String> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// That of `peers.py set-up`, else the one on the path.
#[allow(clippy::disallowed_methods)] // A bench is told by its environment where the user's cache is.
fn interpreter() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")));
    let own = cache.map(|cache| cache.join("threatguard/peers/bin/python3")).filter(|python| python.exists());
    own.unwrap_or_else(|| "python3".into())
}
