//! Batches out of librdkafka: `rd_kafka_consume_batch_queue`, which the wrapper crate does not offer and which reads about half
//! again as fast as one poll a message, and the few other calls that are missing there.
//!
//! The consumer's own queue must never be read by batch: a rebalance found there would be answered inside the library with an
//! empty assignment. Partitions are therefore forwarded to queues of ours before they are assigned, and the consumer's queue stays
//! for rebalances and errors. `enable.partition.eof` must stay off: a batch counts the event's offset as consumed (2.12.1,
//! `rd_kafka_q_serve_rkmessages`), so that after the next pause or rebalance the record at that offset is skipped. For the same
//! reason nothing may be read on after an error in place of a message. No raw pointer leaves this file.

use std::ffi::CString;
use std::os::raw::c_int;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

/// A message, borrowed from the client until the callback returns.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    pub key: Option<&'m [u8]>,
    pub payload: Option<&'m [u8]>,
    /// Something about the partition in place of a message; the client's position is no longer to be relied on after it.
    pub error: Option<RDKafkaErrorCode>,
}

/// The queue of one consumer, to which its partitions are forwarded. Empty until a [`BatchConsumer`] makes it and after that is gone.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<Option<Queue>>);

#[derive(Debug)]
struct Queue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Whose queue it is; only compared.
    client: *mut sys::rd_kafka_t,
}

// SAFETY: librdkafka's queues may be used from any thread; the pointer to the client is only compared.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_queue_new and destroyed here only; the client is still alive, see BatchConsumer.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

impl Inbox {
    /// Sends what a partition fetches from now on to the queue. Has to be called before each assignment of the partition, because
    /// revoking it ends the forwarding. False when there is no queue, or not of this consumer.
    pub fn forward<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>, topic: &str, partition: i32) -> bool {
        let queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let client = consumer.client().native_ptr();
        let (Some(to), Ok(topic)) = (queue.as_ref().filter(|queue| queue.client == client), CString::new(topic)) else {
            return false;
        };
        // SAFETY: the client lives as long as `consumer`, our queue as long as the lock is held; the handle of the partition's own
        // queue is released again, the forwarding stays with the partition and keeps a reference to our queue's inside.
        unsafe {
            let Some(from) = NonNull::new(sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition)) else { return false };
            sys::rd_kafka_queue_forward(from.as_ptr(), to.queue.as_ptr());
            sys::rd_kafka_queue_destroy(from.as_ptr());
        }
        true
    }
}

/// A consumer and the queue that its messages are taken from in batches.
pub struct BatchConsumer<C: ConsumerContext> {
    consumer: Arc<BaseConsumer<C>>,
    inbox: Arc<Inbox>,
    /// The same queue, read without the lock: it lives until `drop`.
    queue: NonNull<sys::rd_kafka_queue_t>,
    batch: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: the queue may be used from any thread, and the pointers in `batch` are only looked at inside `consume`.
unsafe impl<C: ConsumerContext + Send + Sync> Send for BatchConsumer<C> {}

impl<C: ConsumerContext> BatchConsumer<C> {
    /// Makes the queue. `inbox` is what partitions are forwarded with; it must not serve another consumer.
    #[must_use]
    pub fn new(consumer: Arc<BaseConsumer<C>>, inbox: Arc<Inbox>, batch_max: usize) -> Self {
        assert!(batch_max > 0, "a consumer needs a batch");
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive; the call allocates and does not fail otherwise.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(client) }).expect("librdkafka ends the process when out of memory");
        let before = inbox.0.lock().unwrap_or_else(PoisonError::into_inner).replace(Queue { queue, client });
        assert!(before.is_none(), "this inbox serves another consumer already");
        Self { consumer, inbox, queue, batch: vec![ptr::null_mut(); batch_max] }
    }

    #[must_use]
    pub fn consumer(&self) -> &Arc<BaseConsumer<C>> {
        &self.consumer
    }

    /// Takes up to `max` messages (and at most the batch's size) from the queue and shows each to `each`.
    ///
    /// librdkafka waits the whole of `timeout_ms` for `max` messages, so callers wait for one and then take the rest with 0.
    pub fn consume(&mut self, timeout_ms: c_int, max: usize, mut each: impl FnMut(Message<'_>)) -> Result<usize, RDKafkaErrorCode> {
        let max = max.min(self.batch.len());
        // SAFETY: the queue lives until `drop`; the array has room for `max` pointers.
        let taken = unsafe { sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), timeout_ms, self.batch.as_mut_ptr(), max) };
        let Ok(taken) = usize::try_from(taken) else {
            // SAFETY: reads the calling thread's last error code.
            return Err(unsafe { sys::rd_kafka_last_error() }.into());
        };
        // Even when `each` panics every message is given back once.
        let taken = Taken { messages: &self.batch[..taken], next: 0 };
        let count = taken.messages.len();
        for message in taken {
            each(message.view());
        }
        Ok(count)
    }

    /// The offset after the last message that was taken, or skipped as not being one; `None` before the first.
    #[must_use]
    pub fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        // SAFETY: the client and the list are alive; the call looks at local state only and fills in the list.
        unsafe { sys::rd_kafka_position(self.consumer.client().native_ptr(), list.ptr()) };
        match list.find_partition(topic, partition)?.offset() {
            Offset::Offset(offset) if offset >= 0 => Some(offset),
            _ => None,
        }
    }

    /// First and next offset of a partition as last heard from the broker; `None` where nothing was heard.
    #[must_use]
    pub fn watermarks(&self, topic: &str, partition: i32) -> Option<(i64, i64)> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive and both results are written before the call returns.
        let code = unsafe {
            sys::rd_kafka_get_watermark_offsets(self.consumer.client().native_ptr(), topic.as_ptr(), partition, &mut low, &mut high)
        };
        (code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some((low, high))
    }
}

impl<C: ConsumerContext> Drop for BatchConsumer<C> {
    fn drop(&mut self) {
        // The queue and the references that it holds go before the client, whichever thread ends up dropping that.
        drop(self.inbox.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

struct Taken<'t> {
    messages: &'t [*mut sys::rd_kafka_message_t],
    next: usize,
}

struct Owned(NonNull<sys::rd_kafka_message_t>);

impl Iterator for Taken<'_> {
    type Item = Owned;
    fn next(&mut self) -> Option<Owned> {
        let message = *self.messages.get(self.next)?;
        self.next += 1;
        Some(Owned(NonNull::new(message).expect("librdkafka counts only messages that it has written")))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl Owned {
    fn view(&self) -> Message<'_> {
        // SAFETY: the message is ours until it is destroyed in `drop`, and so are its key and payload.
        let (message, timestamp) = unsafe {
            let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            let timestamp = sys::rd_kafka_message_timestamp(self.0.as_ptr(), &mut kind);
            let known = kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            (self.0.as_ref(), known.then_some(timestamp))
        };
        let error = (message.err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| message.err.into());
        Message {
            partition: message.partition,
            offset: message.offset,
            timestamp,
            key: bytes(message.key, message.key_len),
            // The payload of an error is its text, which the code says as well.
            payload: if error.is_some() { None } else { bytes(message.payload, message.len) },
            error,
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: handed to us by rd_kafka_consume_batch_queue and given back here only.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

fn bytes<'m>(start: *mut std::ffi::c_void, len: usize) -> Option<&'m [u8]> {
    // SAFETY: the caller binds the result to the message that owns these bytes; null means absent.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>().cast_const(), len) })
}

/// The group's generation that this member joined with last; negative when it is in none.
///
/// It grows with every rebalance of the group, so that a partition's new owner always has a larger one than its last.
#[must_use]
pub fn group_generation<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> i32 {
    // SAFETY: the client is alive; what the first call allocates is read and given back.
    unsafe {
        let Some(metadata) = NonNull::new(sys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr())) else { return -1 };
        let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata.as_ptr());
        sys::rd_kafka_consumer_group_metadata_destroy(metadata.as_ptr());
        generation
    }
}
