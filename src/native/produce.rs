//! Batches into librdkafka: `rd_kafka_produce_batch`, which the wrapper crate does not offer. It saves what the wrapper's `send`
//! does for every record: a copy of the topic's name and looking the topic up by it.
//!
//! Payloads and keys are copied by the client before the call returns. No raw pointer leaves this file.

use std::ffi::{CString, c_int};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};

/// `RD_KAFKA_PARTITION_UA`: the client chooses, by the key.
const PARTITION_BY_KEY: i32 = -1;

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'p> {
    pub key: Option<&'p [u8]>,
    pub payload: &'p [u8],
}

/// The first record that was not accepted. When the queue was full, none after it was accepted either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub index: usize,
    pub code: RDKafkaErrorCode,
}

/// A producer and handles of the topics that batches go to.
pub struct BatchProducer<C: ProducerContext<DeliveryOpaque = usize> + 'static> {
    topics: Vec<NonNull<sys::rd_kafka_topic_t>>,
    producer: ThreadedProducer<C>,
}

// SAFETY: librdkafka's clients and topics may be used from any thread; the handles are released in `drop` only.
unsafe impl<C: ProducerContext<DeliveryOpaque = usize> + Send + Sync> Send for BatchProducer<C> {}
// SAFETY: as above.
unsafe impl<C: ProducerContext<DeliveryOpaque = usize> + Send + Sync> Sync for BatchProducer<C> {}

impl<C: ProducerContext<DeliveryOpaque = usize>> BatchProducer<C> {
    /// Makes a handle for each topic, without asking a broker. The error is the client's, for example about a name.
    pub fn new(producer: ThreadedProducer<C>, topics: &[&str]) -> Result<Self, RDKafkaErrorCode> {
        let mut made = Self { topics: Vec::with_capacity(topics.len()), producer };
        for topic in topics {
            let name = CString::new(*topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
            // SAFETY: the client is alive; without settings of its own the topic takes the client's.
            let handle = unsafe { sys::rd_kafka_topic_new(made.producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
            // SAFETY: reads the calling thread's last error code.
            made.topics.push(NonNull::new(handle).ok_or_else(|| RDKafkaErrorCode::from(unsafe { sys::rd_kafka_last_error() }))?);
        }
        Ok(made)
    }

    pub fn producer(&self) -> &ThreadedProducer<C> {
        &self.producer
    }

    /// Hands over records for one topic (by its index) and one partition, or each by its key. Record `i` is reported delivered
    /// with the number `first + i`.
    pub fn produce<'p>(
        &self,
        topic: usize,
        partition: Option<u32>,
        pieces: impl Iterator<Item = Piece<'p>>,
        first: usize,
    ) -> Result<(), Refused> {
        let part = |bytes: &[u8]| (bytes.as_ptr().cast_mut().cast::<std::ffi::c_void>(), bytes.len());
        let message = |(index, piece): (usize, Piece<'p>)| {
            let (payload, len) = part(piece.payload);
            let (key, key_len) = piece.key.map_or((ptr::null_mut(), 0), part);
            sys::rd_kafka_message_t {
                err: sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                rkt: ptr::null_mut(),
                partition: 0,
                payload,
                len,
                key,
                key_len,
                offset: 0,
                _private: ptr::without_provenance_mut(first + index),
            }
        };
        let mut messages: Vec<_> = pieces.enumerate().map(message).collect();
        let partition = partition.map_or(PARTITION_BY_KEY, |partition| partition as i32);
        // SAFETY: the topic lives until `drop`; keys and payloads are borrowed until after the call, which copies them as it is
        // told to and writes only each message's error.
        let accepted = unsafe {
            sys::rd_kafka_produce_batch(
                self.topics[topic].as_ptr(),
                partition,
                sys::RD_KAFKA_MSG_F_COPY,
                messages.as_mut_ptr(),
                messages.len() as i32,
            )
        };
        if accepted as usize == messages.len() {
            return Ok(());
        }
        let refused = |message: &sys::rd_kafka_message_t| message.err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        let index = messages.iter().position(refused).expect("a record that was not accepted says why");
        Err(Refused { index, code: messages[index].err.into() })
    }
}

impl<C: ProducerContext<DeliveryOpaque = usize>> BatchProducer<C> {
    /// Sends at once what waits for company, and waits until all of it is acknowledged, `wait` at most. Whether it was.
    ///
    /// Not the wrapper's flush: that one looks every 100 ms, and between two looks nothing is being flushed.
    pub fn flush(&self, wait: Duration) -> bool {
        let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the client is alive. Its acknowledgements are events, so that this call only waits while the producer's own
        // thread handles them.
        let code = unsafe { sys::rd_kafka_flush(self.producer.client().native_ptr(), wait_ms) };
        code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }
}

impl<C: ProducerContext<DeliveryOpaque = usize>> Drop for BatchProducer<C> {
    fn drop(&mut self) {
        for topic in self.topics.drain(..) {
            // SAFETY: made in `new` and released here only, before the client, which is a field.
            unsafe { sys::rd_kafka_topic_destroy(topic.as_ptr()) };
        }
    }
}
