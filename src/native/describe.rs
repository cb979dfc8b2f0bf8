//! A topic's own id, which the wrapper crate does not ask for: a topic that was deleted and made anew has another one under the same
//! name. Must never keep a pointer of the library's beyond the event that owns it.

use std::ffi::CString;
use std::os::raw::c_int;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;

struct Queue(NonNull<sys::rd_kafka_queue_t>);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_queue_new and destroyed here only, before the client, which the caller holds.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

struct Event(NonNull<sys::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: taken from the queue once and destroyed here only.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}

/// The id of a topic; `None` from brokers that give none (before 2.8).
///
/// # Errors
/// The code of the client or the broker: no answer in time, no such topic, no right to describe it.
pub fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Result<Option<u128>, RDKafkaErrorCode> {
    let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    let wait = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    let native = client.native_ptr();
    // SAFETY: the client is alive for the whole call; what each call makes is destroyed exactly once, after its last use.
    let event = unsafe {
        let queue = Queue(NonNull::new(sys::rd_kafka_queue_new(native)).ok_or(RDKafkaErrorCode::Fail)?);
        let mut names = [name.as_ptr()];
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let options = sys::rd_kafka_AdminOptions_new(native, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let mut unused = [0; 128];
        sys::rd_kafka_AdminOptions_set_request_timeout(options, wait, unused.as_mut_ptr(), unused.len());
        sys::rd_kafka_DescribeTopics(native, topics, options, queue.0.as_ptr());
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(topics);
        Event(NonNull::new(sys::rd_kafka_queue_poll(queue.0.as_ptr(), wait)).ok_or(RDKafkaErrorCode::OperationTimedOut)?)
    };
    id_of(&event)
}

fn id_of(event: &Event) -> Result<Option<u128>, RDKafkaErrorCode> {
    use sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR;
    // SAFETY: the result, its descriptions and their ids belong to the event, which is alive; null is looked for each time.
    unsafe {
        let code = sys::rd_kafka_event_error(event.0.as_ptr());
        if code != NO_ERROR {
            return Err(code.into());
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0.as_ptr());
        let mut count = 0;
        let topics = if result.is_null() { ptr::null_mut() } else { sys::rd_kafka_DescribeTopics_result_topics(result, &mut count) };
        if topics.is_null() || count == 0 {
            return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
        }
        let error = sys::rd_kafka_TopicDescription_error(*topics);
        let code = if error.is_null() { NO_ERROR } else { sys::rd_kafka_error_code(error) };
        if code != NO_ERROR {
            return Err(code.into());
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(*topics);
        if id.is_null() {
            return Ok(None);
        }
        let (high, low) = (sys::rd_kafka_Uuid_most_significant_bits(id), sys::rd_kafka_Uuid_least_significant_bits(id));
        let whole = u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned());
        Ok((whole != 0).then_some(whole))
    }
}
