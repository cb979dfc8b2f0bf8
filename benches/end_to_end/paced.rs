//! A load at an even pace that costs the machine next to nothing: its requests are encoded and compressed before the clock starts,
//! and then written as they are. It stands for many producers elsewhere; a client here would take half of a core that is measured.
//!
//! Speaks as much of Kafka's protocol as that takes (Produce version 7, record batches of magic 2, lz4), without TLS or SASL.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crc_fast::CrcAlgorithm;
use threatguard::core::numeric::mix;
use threatguard::edge::clock;

use crate::services::Services;
use crate::traffic::Traffic;

/// Each partition gets a batch so often, all of them in turn: producers that know nothing of each other do not write at once.
const SEND_EVERY: Duration = Duration::from_millis(5);
const ACK_TIMEOUT: Duration = Duration::from_secs(30);
const LZ4: i16 = 3;

/// Requests in the order in which they are due.
pub struct Paced {
    topic: String,
    rate: f64,
    requests: Vec<Request>,
    /// The events of each partition in the order of their offsets, as places in the load.
    places: Vec<Vec<u32>>,
    begun: OnceLock<Instant>,
}

struct Request {
    partition: usize,
    due: Duration,
    bytes: Vec<u8>,
}

impl Paced {
    /// Events `numbers` of the traffic for `topic`, `rate` a second.
    pub fn encode(traffic: Traffic, numbers: Range<u64>, rate: f64, topic: &str, partitions: u32) -> Result<Self, String> {
        let slots = Slots { traffic, numbers, rate, topic, partitions: partitions as usize };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (slots, share) = (&slots, slots.count().div_ceil(threads));
        let part = move |thread: usize| -> Vec<Slot> {
            (thread * share..((thread + 1) * share).min(slots.count())).map(|slot| slots.encode(slot)).collect()
        };
        let parts: Vec<Vec<Slot>> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
            running.into_iter().map(|thread| thread.join().map_err(|_| "encoding the load panicked")).collect::<Result<_, _>>()
        })?;
        let mut made =
            Self { topic: topic.to_owned(), rate, requests: vec![], places: vec![vec![]; partitions as usize], begun: OnceLock::new() };
        for slot in parts.into_iter().flatten() {
            made.requests.extend(slot.requests);
            made.places.iter_mut().zip(slot.places).for_each(|(all, places)| all.extend(places));
        }
        Ok(made)
    }

    /// Writes all of it, each batch when it is due, until `stop`.
    pub fn send(&self, services: &Services, stop: &AtomicBool) -> Result<(), String> {
        let leaders = services.leaders(&self.topic)?;
        let mut connections = leaders.iter().map(|leader| Connection::open(leader, &self.topic)).collect::<Result<Vec<_>, _>>()?;
        let begun = *self.begun.get_or_init(clock::now);
        for request in &self.requests {
            std::thread::sleep(request.due.saturating_sub(begun.elapsed()));
            if stop.load(Ordering::Relaxed) {
                break;
            }
            connections.get_mut(request.partition).ok_or("the topic has too few partitions")?.send(&request.bytes)?;
        }
        connections.iter_mut().try_for_each(Connection::settle)
    }

    pub fn len(&self) -> u64 {
        self.places.iter().map(|places| places.len() as u64).sum()
    }

    /// When the event was due that a partition of a new topic holds there.
    #[allow(dead_code)] // Not every bench asks.
    pub fn due(&self, partition: u64, offset: u64) -> Option<Instant> {
        let place = self.places.get(partition as usize)?.get(offset as usize)?;
        Some(*self.begun.get()? + Duration::from_secs_f64(f64::from(*place) / self.rate))
    }
}

/// The load, cut by time.
struct Slots<'l> {
    traffic: Traffic,
    numbers: Range<u64>,
    rate: f64,
    topic: &'l str,
    partitions: usize,
}

struct Slot {
    requests: Vec<Request>,
    places: Vec<Vec<u32>>,
}

impl Slots<'_> {
    fn count(&self) -> usize {
        ((self.numbers.end - self.numbers.start) as f64 / self.rate / SEND_EVERY.as_secs_f64()).ceil() as usize
    }

    /// Where the events of a slot begin.
    fn begin(&self, slot: usize) -> u64 {
        let events = slot as f64 * SEND_EVERY.as_secs_f64() * self.rate;
        (self.numbers.start + events as u64).min(self.numbers.end)
    }

    fn encode(&self, slot: usize) -> Slot {
        let (mut payload, mut key) = (String::new(), String::new());
        let mut batches: Vec<Batch> = (0..self.partitions).map(|_| Batch::default()).collect();
        let mut places = vec![vec![]; self.partitions];
        for number in self.begin(slot)..self.begin(slot + 1) {
            self.traffic.event(number, &mut payload, &mut key);
            let partition = key.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte))) as usize % self.partitions;
            batches[partition].push(key.as_bytes(), payload.as_bytes());
            places[partition].push((number - self.numbers.start) as u32);
        }
        let due = |partition: usize| SEND_EVERY * (slot as u32 + 1) + SEND_EVERY * partition as u32 / self.partitions as u32;
        let filled = batches.iter().enumerate().filter(|(_, batch)| batch.count > 0);
        let requests =
            filled.map(|(partition, batch)| Request { partition, due: due(partition), bytes: batch.request(self.topic, partition) });
        Slot { requests: requests.collect(), places }
    }
}

/// Records as a batch has them, uncompressed.
#[derive(Default)]
struct Batch {
    records: Vec<u8>,
    count: i32,
}

impl Batch {
    fn push(&mut self, key: &[u8], payload: &[u8]) {
        let mut record = vec![0]; // attributes
        put_varint(&mut record, 0); // milliseconds since the batch's time
        put_varint(&mut record, self.count.into());
        for bytes in [key, payload] {
            put_varint(&mut record, bytes.len() as i64);
            record.extend_from_slice(bytes);
        }
        put_varint(&mut record, 0); // headers
        put_varint(&mut self.records, record.len() as i64);
        self.records.extend_from_slice(&record);
        self.count += 1;
    }

    /// A whole Produce request, its size first.
    fn request(&self, topic: &str, partition: usize) -> Vec<u8> {
        let batch = self.encode();
        let mut out = vec![];
        out.extend_from_slice(&0_i16.to_be_bytes()); // Produce
        out.extend_from_slice(&7_i16.to_be_bytes());
        out.extend_from_slice(&0_i32.to_be_bytes()); // correlation
        out.extend_from_slice(&(-1_i16).to_be_bytes()); // client
        out.extend_from_slice(&(-1_i16).to_be_bytes()); // transaction
        out.extend_from_slice(&1_i16.to_be_bytes()); // acknowledgements
        out.extend_from_slice(&(ACK_TIMEOUT.as_millis() as i32).to_be_bytes());
        out.extend_from_slice(&1_i32.to_be_bytes()); // topics
        out.extend_from_slice(&(topic.len() as i16).to_be_bytes());
        out.extend_from_slice(topic.as_bytes());
        out.extend_from_slice(&1_i32.to_be_bytes()); // partitions
        out.extend_from_slice(&(partition as i32).to_be_bytes());
        out.extend_from_slice(&(batch.len() as i32).to_be_bytes());
        out.extend_from_slice(&batch);
        let size = (out.len() as i32).to_be_bytes();
        [size.as_slice(), &out].concat()
    }

    fn encode(&self) -> Vec<u8> {
        let now = clock::wall().0 / 1_000;
        let mut checked = vec![];
        checked.extend_from_slice(&LZ4.to_be_bytes());
        checked.extend_from_slice(&(self.count - 1).to_be_bytes());
        checked.extend_from_slice(&now.to_be_bytes()); // first
        checked.extend_from_slice(&now.to_be_bytes()); // last
        checked.extend_from_slice(&(-1_i64).to_be_bytes()); // producer
        checked.extend_from_slice(&(-1_i16).to_be_bytes()); // its epoch
        checked.extend_from_slice(&(-1_i32).to_be_bytes()); // sequence
        checked.extend_from_slice(&self.count.to_be_bytes());
        let mut frame = lz4_flex::frame::FrameEncoder::new(checked);
        frame.write_all(&self.records).expect("memory takes everything");
        let checked = frame.finish().expect("memory takes everything");
        let sum = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &checked) as u32;
        let mut out = vec![];
        out.extend_from_slice(&0_i64.to_be_bytes()); // offset
        out.extend_from_slice(&(checked.len() as i32 + 9).to_be_bytes());
        out.extend_from_slice(&(-1_i32).to_be_bytes()); // leader epoch
        out.push(2); // magic
        out.extend_from_slice(&sum.to_be_bytes());
        out.extend_from_slice(&checked);
        out
    }
}

/// Zigzag, seven bits a byte.
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut left = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    while left > 0x7f {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// To the leader of one partition; one request at a time.
struct Connection {
    stream: TcpStream,
    /// Where a response says whether it went well.
    code_at: usize,
    is_open: bool,
}

impl Connection {
    fn open(leader: &str, topic: &str) -> Result<Self, String> {
        let text = |error: std::io::Error| format!("no connection to {leader}: {error}");
        let stream = TcpStream::connect(leader).map_err(text)?;
        stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(ACK_TIMEOUT))).map_err(text)?;
        // Behind correlation, number of topics, the topic, number of partitions, the partition.
        Ok(Self { stream, code_at: 4 + 4 + 2 + topic.len() + 4 + 4, is_open: false })
    }

    fn send(&mut self, request: &[u8]) -> Result<(), String> {
        self.settle()?;
        self.is_open = true;
        self.stream.write_all(request).map_err(|error| format!("the broker takes no load: {error}"))
    }

    /// Waits for the answer to the last request.
    fn settle(&mut self) -> Result<(), String> {
        if !std::mem::take(&mut self.is_open) {
            return Ok(());
        }
        let text = |error: std::io::Error| format!("the broker does not answer the load: {error}");
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).map_err(text)?;
        let mut response = vec![0; u32::from_be_bytes(size) as usize];
        self.stream.read_exact(&mut response).map_err(text)?;
        match response.get(self.code_at..self.code_at + 2) {
            Some([0, 0]) => Ok(()),
            code => Err(format!("the broker refuses the load, code {code:?}")),
        }
    }
}
