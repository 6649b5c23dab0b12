//! `ConsumerGroupDescribe` (key 69): groups of KIP-848, with their members.
//!
//! Versions: 0 · 1 (each member's protocol).
//!
//! Left out: authorization, so authorized operations are all there are.
//!
//! Order of checks, as in `GroupCoordinatorService.consumerGroupDescribe`: (each group by itself) it has a name → this is its
//! coordinator → it is there, and of this protocol.

use std::sync::Arc;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ringmain_protocol::messages::consumer_group_describe_response::{
    Assignment, ConsumerGroupDescribeResponse, DescribedGroup, Member, TopicPartitions,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::describe_groups::GROUP_OPERATIONS;
use super::group::{name_of, told};
use super::{Answer, Broker, Context, topics};
use crate::group::{ConsumerAssignment, DescribedConsumer, DescribedConsumers};
use crate::metadata::image::MetadataImage;

/// The type of a member that speaks the classic protocol, and of one that does not.
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

/// Answers one `ConsumerGroupDescribe`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: ConsumerGroupDescribeRequest,
) -> Answer<ConsumerGroupDescribeResponse> {
    let described = request.group_ids.into_iter().map(|group| describe(broker, context, group));
    let mut groups = topics::all(described).await;
    if request.include_authorized_operations {
        let told = groups.iter_mut().filter(|group| group.error_code == 0);
        told.for_each(|group| group.authorized_operations = GROUP_OPERATIONS);
    }
    ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() }.into()
}

async fn describe<I: Io>(broker: &Broker<I>, context: &Context, group_id: Str) -> DescribedGroup {
    match look_up(broker, context, &group_id).await {
        Ok(group) => response(&broker.image(), group_id, &group),
        Err(code) => {
            let is_missing = code == ErrorCode::GroupIdNotFound;
            let why = is_missing.then(|| Str::from(format!("Group {group_id} not found.")));
            DescribedGroup {
                group_id,
                error_code: code.code(),
                error_message: why,
                ..DescribedGroup::default()
            }
        }
    }
}

async fn look_up<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    group_id: &Str,
) -> Result<DescribedConsumers, ErrorCode> {
    let id: Arc<str> = name_of(group_id)?;
    let asked = Arc::clone(&id);
    let described = broker.at_coordinator(context, &id, async move |hosted| {
        let settings = hosted.settings();
        let group = hosted.look(|coordinator| coordinator.describe_consumers(&asked, settings));
        group.ok_or(ErrorCode::GroupIdNotFound)
    });
    described.await
}

fn response(image: &MetadataImage, group_id: Str, group: &DescribedConsumers) -> DescribedGroup {
    DescribedGroup {
        group_id,
        group_state: Str::from_static(group.state),
        group_epoch: group.epoch,
        assignment_epoch: group.target_epoch,
        assignor_name: told(&group.assignor),
        members: group.members.iter().map(|member| told_member(image, member)).collect(),
        ..DescribedGroup::default()
    }
}

fn told_member(image: &MetadataImage, member: &DescribedConsumer) -> Member {
    Member {
        member_id: told(&member.member_id),
        instance_id: member.instance_id.as_ref().map(told),
        rack_id: member.rack_id.as_ref().map(told),
        member_epoch: member.epoch,
        client_id: told(&member.client_id),
        client_host: told(&member.client_host),
        subscribed_topic_names: member.topics.iter().map(told).collect(),
        subscribed_topic_regex: Some(told(&member.regex)),
        assignment: assignment(image, &member.assignment),
        target_assignment: assignment(image, &member.target),
        member_type: if member.is_classic { CLASSIC } else { CONSUMER },
    }
}

/// Partitions by topic; topics that are gone are left out.
fn assignment(image: &MetadataImage, assignment: &ConsumerAssignment) -> Assignment {
    let topics = assignment.iter().filter_map(|(id, partitions)| {
        Some(TopicPartitions {
            topic_id: topics::uuid(*id),
            topic_name: Str::from(&*image.topic_by_id(*id)?.name),
            partitions: partitions.iter().copied().collect(),
        })
    });
    Assignment { topic_partitions: topics.collect() }
}
