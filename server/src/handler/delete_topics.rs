//! `DeleteTopics` (key 20).
//!
//! Versions: 0 (gone in Kafka 4; ruby-kafka sends it unasked) · 1 (throttle time) · 4 (flexible) · 5 (messages) ·
//! 6 (topics by name or by id). Version 3 knows `TOPIC_DELETION_DISABLED`.
//!
//! Left out: authorization, and `timeout_ms`: the answer leaves when the deletion is durable.
//!
//! Order of checks, as in `ControllerApis.deleteTopics`: `delete.topic.enable`, else no topic of the request goes
//! (`INVALID_REQUEST` before version 3, which has no better error) → named by one of name and id → named once → not by
//! its name and by its id → exists.

use std::collections::{HashMap, HashSet};

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ringmain_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use ringmain_protocol::wire::{Str, Uuid};
use ringmain_storage::io::Io;

use super::turns::Turns;
use super::{Answer, Broker, Context, errors, topics};
use crate::metadata::request::TopicRef;

/// First version that names topics by name or by id.
const TOPIC_IDS_SINCE: i16 = 6;

/// First version that knows `TOPIC_DELETION_DISABLED`.
const DISABLED_SINCE: i16 = 3;

/// Answers one `DeleteTopics`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: DeleteTopicsRequest,
) -> Answer<DeleteTopicsResponse> {
    let asked = if context.version >= TOPIC_IDS_SINCE {
        request.topics
    } else {
        let by_name = |name| DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO };
        request.topic_names.into_iter().map(by_name).collect()
    };
    if !broker.settings().delete_topics {
        let responses = asked.into_iter().map(|topic| disabled(topic, context.version)).collect();
        return DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }.into();
    }
    let mut turns = Turns::default();
    let (mut responses, named) = named_once(asked, &mut turns).await;
    let image = broker.image();
    let by_id: HashSet<Uuid> =
        named.iter().filter(|topic| topic.name.is_none()).map(|topic| topic.topic_id).collect();
    let mut in_both_ways = HashSet::new();
    let (mut known, mut refs) = (Vec::new(), Vec::new());
    // Those by name first: they may be the topics of ids that stand elsewhere in the request.
    let (by_name, rest): (Vec<_>, Vec<_>) = named.into_iter().partition(|topic| topic.name.is_some());
    for topic in by_name.into_iter().chain(rest) {
        turns.entry_done().await;
        // The answer tells both, whichever was asked by.
        let found = match &topic.name {
            Some(name) => image.topic_by_name(name),
            None => image.topic_by_id(topics::topic_id(topic.topic_id)),
        };
        let id = found.map_or(topic.topic_id, |found| topics::uuid(found.id));
        if topic.name.is_some() && by_id.contains(&id) {
            in_both_ways.insert(id);
            let wrong = "The provided topic name maps to an ID that was already supplied.".to_owned();
            responses.push(refused(topic.name, id, ErrorCode::InvalidRequest, wrong));
            continue;
        }
        if in_both_ways.contains(&id) {
            continue;
        }
        refs.push(match &topic.name {
            Some(name) => TopicRef::Name(name.to_string()),
            None => TopicRef::Id(topics::topic_id(topic.topic_id)),
        });
        known.push(match found {
            Some(found) => (Some(Str::from(&*found.name)), topics::uuid(found.id)),
            None => (topic.name, topic.topic_id),
        });
    }
    drop(image);
    let deleted = broker.controller().delete_topics(refs).await;
    responses.extend(known.into_iter().zip(deleted).map(|((name, topic_id), result)| match result {
        Ok(_) => DeletableTopicResult { name, topic_id, error_code: 0, error_message: None },
        Err(error) => refused(name, topic_id, errors::controller(&error), error.message),
    }));
    DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }.into()
}

/// The answer to each topic where none may be deleted.
fn disabled(topic: DeleteTopicState, version: i16) -> DeletableTopicResult {
    let code =
        if version >= DISABLED_SINCE { ErrorCode::TopicDeletionDisabled } else { ErrorCode::InvalidRequest };
    DeletableTopicResult {
        name: topic.name,
        topic_id: topic.topic_id,
        error_code: code.code(),
        error_message: None,
    }
}

/// Sorts out what is named wrongly or more than once.
async fn named_once(
    asked: Vec<DeleteTopicState>,
    turns: &mut Turns,
) -> (Vec<DeletableTopicResult>, Vec<DeleteTopicState>) {
    let mut times: HashMap<(Option<Str>, Uuid), u32> = HashMap::new();
    for topic in &asked {
        turns.entry_done().await;
        *times.entry((topic.name.clone(), topic.topic_id)).or_default() += 1;
    }
    let (mut refusals, mut named, mut told) = (Vec::new(), Vec::with_capacity(asked.len()), HashSet::new());
    for topic in asked {
        turns.entry_done().await;
        let by_id = !topic.topic_id.is_zero();
        let wrong = match (topic.name.is_some(), by_id) {
            (true, true) => Some("You may not specify both topic name and topic id."),
            (false, false) => Some("Neither topic name nor id were specified."),
            _ if times.get(&(topic.name.clone(), topic.topic_id)) == Some(&1) => None,
            (true, false) => Some("Duplicate topic name."),
            (false, true) => Some("Duplicate topic id."),
        };
        match wrong {
            None => named.push(topic),
            Some(wrong) if told.insert((topic.name.clone(), topic.topic_id)) => {
                refusals.push(refused(
                    topic.name,
                    topic.topic_id,
                    ErrorCode::InvalidRequest,
                    wrong.to_owned(),
                ));
            }
            Some(_) => {}
        }
    }
    (refusals, named)
}

fn refused(name: Option<Str>, topic_id: Uuid, code: ErrorCode, message: String) -> DeletableTopicResult {
    DeletableTopicResult { name, topic_id, error_code: code.code(), error_message: Some(Str::from(message)) }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::super::test_kit::with_settings;
    use super::*;

    fn by_name(name: &str) -> DeleteTopicState {
        DeleteTopicState { name: Some(Str::from(name)), topic_id: Uuid::ZERO }
    }

    #[test]
    fn what_is_named_twice_or_wrongly_is_refused_once_and_the_rest_goes_on() {
        let id = Uuid::from_u128(7);
        let both = DeleteTopicState { name: Some(Str::from("b")), topic_id: id };
        let neither = DeleteTopicState { name: None, topic_id: Uuid::ZERO };
        let asked = vec![by_name("a"), by_name("c"), by_name("a"), both, neither];
        let mut turns = Turns::default();
        let (refusals, named) = named_once(asked, &mut turns).now_or_never().unwrap();
        assert_eq!(named, [by_name("c")]);
        let names: Vec<_> = refusals.iter().map(|refusal| refusal.name.as_deref()).collect();
        assert_eq!(names, [Some("a"), Some("b"), None]);
        assert!(refusals.iter().all(|refusal| refusal.error_code == ErrorCode::InvalidRequest.code()));
    }

    #[test]
    fn nothing_is_deleted_where_that_is_switched_off() {
        with_settings(
            |settings| settings.delete_topics = false,
            async |kit| {
                kit.create_topic("t", 1, &[]).await;
                for (version, code) in [(1, 42), (3, 73), (6, 73)] {
                    let topics = if version == 6 { vec![by_name("t")] } else { Vec::new() };
                    let topic_names = if version == 6 { Vec::new() } else { vec![Str::from("t")] };
                    let request = DeleteTopicsRequest { topics, topic_names, timeout_ms: 1000 };
                    assert_eq!(kit.ask(version, &request).await.responses[0].error_code, code);
                }
                assert!(kit.broker.image().topic_by_name("t").is_some());
            },
        );
    }
}
