//! A proxy between two ends of TCP that knows bytes only: it can be slow, keep everything to itself, go silent for good or hang up
//! in the middle. Its threads end with it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a pump looks whether things have changed.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Answers come this much later, each read of them.
    Slow(Duration),
    /// Nothing passes, in either direction; afterwards it arrives late.
    Hole,
    /// What is open now never passes anything again, and nobody is told. Connections made afterwards are fine.
    HalfOpen,
    /// As that, for connections made meanwhile as well.
    Dead,
}

struct Control {
    mode: Mutex<Mode>,
    /// Connections of an earlier life than this are half open.
    life: AtomicU64,
    /// Bytes until the next one that passes hangs up its connection; negative is never.
    budget: AtomicI64,
    cuts: AtomicU64,
    over: AtomicBool,
}

pub struct Proxy {
    pub port: u16,
    control: Arc<Control>,
}

impl Proxy {
    /// Takes a port now; where it leads to may become known later, by [`Proxy::lead`].
    pub fn bind() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    pub fn to(address: &str) -> Self {
        Self::lead(Self::bind().0, address)
    }

    pub fn lead(listener: TcpListener, address: &str) -> Self {
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let control = Arc::new(Control {
            mode: Mutex::new(Mode::Pass),
            life: AtomicU64::new(0),
            budget: AtomicI64::new(-1),
            cuts: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let (shared, address) = (Arc::clone(&control), address.to_owned());
        std::thread::spawn(move || accept(&listener, &address, &shared));
        Self { port, control }
    }

    pub fn set(&self, mode: Mode) {
        if matches!(mode, Mode::HalfOpen | Mode::Dead) {
            self.control.life.fetch_add(1, Ordering::SeqCst);
        }
        *self.control.mode.lock().unwrap() = mode;
    }

    /// Hangs up a connection after this many more bytes.
    pub fn cut_after(&self, bytes: u64) {
        self.control.budget.store(i64::try_from(bytes).unwrap(), Ordering::SeqCst);
    }

    /// How often it has hung up so far.
    pub fn cuts(&self) -> u64 {
        self.control.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.control.over.store(true, Ordering::SeqCst);
    }
}

fn accept(listener: &TcpListener, address: &str, control: &Arc<Control>) {
    while !control.over.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((inside, _)) => connect(inside, address, control),
            Err(_) => std::thread::sleep(LOOK_AGAIN),
        }
    }
}

fn connect(inside: TcpStream, address: &str, control: &Arc<Control>) {
    // Whoever is behind may be away; then so are we.
    let Ok(outside) = TcpStream::connect(address) else { return };
    let dead = control.mode() == Mode::Dead;
    let life = if dead { u64::MAX } else { control.life.load(Ordering::SeqCst) };
    let sides = [(inside.try_clone(), outside.try_clone(), false), (Ok(outside), Ok(inside), true)];
    for (from, to, answers) in sides {
        let (Ok(from), Ok(to)) = (from, to) else { return };
        from.set_nonblocking(false).and_then(|()| from.set_read_timeout(Some(LOOK_AGAIN))).unwrap();
        from.set_nodelay(true).unwrap();
        let pump = Pump { from, to, answers, life, control: Arc::clone(control) };
        std::thread::spawn(move || pump.run());
    }
}

impl Control {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }
}

/// One direction of one connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    answers: bool,
    life: u64,
    control: Arc<Control>,
}

impl Pump {
    fn run(mut self) {
        let mut buffer = vec![0; 64 * 1024];
        while !self.control.over.load(Ordering::SeqCst) {
            match self.from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    if !self.pass(&buffer[..read]) {
                        break;
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(_) => break,
            }
        }
        self.from.shutdown(Shutdown::Both).ok();
        self.to.shutdown(Shutdown::Both).ok();
    }

    /// False when the connection is over.
    fn pass(&mut self, bytes: &[u8]) -> bool {
        loop {
            if self.control.over.load(Ordering::SeqCst) {
                return false;
            }
            if self.life != self.control.life.load(Ordering::SeqCst) {
                // Half open: swallowed.
                return true;
            }
            match self.control.mode() {
                Mode::Hole => std::thread::sleep(LOOK_AGAIN),
                Mode::Slow(late) => {
                    if self.answers {
                        std::thread::sleep(late);
                    }
                    return self.write(bytes);
                }
                Mode::Pass | Mode::HalfOpen | Mode::Dead => return self.write(bytes),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        let length = i64::try_from(bytes.len()).unwrap();
        let left = self.control.budget.load(Ordering::SeqCst);
        if left < 0 {
            return self.to.write_all(bytes).is_ok();
        }
        let left = self.control.budget.fetch_sub(length, Ordering::SeqCst);
        if left >= length {
            return self.to.write_all(bytes).is_ok();
        }
        // The other end gets the beginning of it and then the end of the connection.
        self.control.budget.store(-1, Ordering::SeqCst);
        self.control.cuts.fetch_add(1, Ordering::SeqCst);
        self.to.write_all(&bytes[..usize::try_from(left.max(0)).unwrap()]).ok();
        false
    }
}

#[test]
fn the_proxy_passes_delays_cuts_and_goes_silent() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::to(&server.local_addr().unwrap().to_string());
    std::thread::spawn(move || {
        for mut stream in server.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut bytes = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    stream.write_all(&bytes[..read]).unwrap();
                }
            });
        }
    });
    let open = || {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream
    };
    let echo = |stream: &mut TcpStream, text: &[u8]| {
        stream.write_all(text).unwrap();
        let mut bytes = vec![0; text.len()];
        stream.read_exact(&mut bytes).map(|()| bytes == text)
    };
    let mut stream = open();
    assert!(echo(&mut stream, b"through").unwrap());
    proxy.set(Mode::Hole);
    assert!(echo(&mut stream, b"held").is_err());
    proxy.set(Mode::Pass);
    let mut late = [0; 4];
    stream.read_exact(&mut late).unwrap();
    assert_eq!(&late, b"held");
    proxy.set(Mode::HalfOpen);
    assert!(echo(&mut stream, b"gone").is_err() && echo(&mut open(), b"new").unwrap());
    proxy.set(Mode::Dead);
    assert!(echo(&mut open(), b"dead").is_err());
    proxy.set(Mode::Pass);
    let mut cut = open();
    assert!(echo(&mut cut, b"fine").unwrap());
    proxy.cut_after(2);
    cut.write_all(b"four").unwrap();
    let mut end = vec![];
    cut.read_to_end(&mut end).ok();
    assert!(end.len() <= 2 && proxy.cuts() == 1, "{end:?}");
}
