//! Reading what may have nothing to say for days: a thread of its own waits for the bytes, so that whoever reads can be told to
//! stop. Hands on whatever is there at once and in order; what was taken before the stop is handed on too.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::error::{Error, Result};

const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks read ahead.
const AHEAD: usize = 4;
/// How soon a stop is noticed while nothing comes.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The reading end. It is at its end when the source is, or when it was told to stop and nothing is left.
pub(super) struct Live {
    chunks: Receiver<io::Result<Vec<u8>>>,
    stop: Arc<AtomicBool>,
    chunk: Vec<u8>,
    used: usize,
}

impl Live {
    /// Opens and reads the source on a thread that ends with the source, or after the stop with the next bytes; else with the process.
    ///
    /// # Errors
    /// `Permanent`: no thread can be made.
    pub(super) fn start<R: Read>(name: &str, stop: Arc<AtomicBool>, open: impl FnOnce() -> io::Result<R> + Send + 'static) -> Result<Self> {
        let (send, chunks) = bounded(AHEAD);
        let told = Arc::clone(&stop);
        let body = move || match open() {
            Ok(mut source) => pump(&mut source, &send, &told),
            // Nobody is left to tell when the reader has gone.
            Err(error) => drop(send.send(Err(error))),
        };
        let thread = std::thread::Builder::new().name("input".into()).spawn(body);
        thread.map_err(|error| Error::permanent(format!("cannot start a thread to read {name}")).because(error))?;
        Ok(Self { chunks, stop, chunk: vec![], used: 0 })
    }
}

fn pump(source: &mut impl Read, send: &Sender<io::Result<Vec<u8>>>, stop: &AtomicBool) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while !stop.load(Ordering::Relaxed) {
        let chunk = match source.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => Ok(buffer[..read].to_vec()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = chunk.is_err();
        if send.send(chunk).is_err() || failed {
            return;
        }
    }
}

impl Read for Live {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.chunk.len() {
            match self.chunks.recv_timeout(LOOK_AGAIN) {
                Ok(chunk) => (self.chunk, self.used) = (chunk?, 0),
                Err(RecvTimeoutError::Timeout) if !self.stop.load(Ordering::Relaxed) => {}
                Err(_) => return Ok(0),
            }
        }
        let part = &self.chunk[self.used..];
        let taken = part.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&part[..taken]);
        self.used += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what it has and then waits for ever.
    struct Silent(Vec<u8>);

    impl Read for Silent {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            while self.0.is_empty() {
                std::thread::park();
            }
            let taken = self.0.len().min(buffer.len());
            buffer[..taken].copy_from_slice(&self.0[..taken]);
            self.0.drain(..taken);
            Ok(taken)
        }
    }

    #[test]
    fn a_source_without_end_ends_with_the_stop_and_nothing_is_left_behind() {
        let stop = Arc::new(AtomicBool::new(false));
        let bytes: Vec<u8> = (0..3 * CHUNK_BYTES).map(|at| at as u8).collect();
        let source = Silent(bytes.clone());
        let mut live = Live::start("a test", Arc::clone(&stop), || Ok(source)).unwrap();
        let mut read = vec![0; 10];
        live.read_exact(&mut read).unwrap();
        let set = Arc::clone(&stop);
        let setter = std::thread::spawn(move || {
            std::thread::sleep(4 * LOOK_AGAIN);
            set.store(true, Ordering::Relaxed);
        });
        live.read_to_end(&mut read).unwrap();
        assert!(read == bytes && stop.load(Ordering::Relaxed));
        setter.join().unwrap();
    }

    #[test]
    fn ends_and_failures_of_the_source_come_through() {
        let of = |open: fn() -> io::Result<&'static [u8]>| {
            let mut read = vec![];
            Live::start("a test", Arc::default(), open).unwrap().read_to_end(&mut read).map(|_| read)
        };
        assert_eq!(of(|| Ok(b"abc")).unwrap(), b"abc");
        assert_eq!(of(|| Err(ErrorKind::PermissionDenied.into())).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}
