//! `DescribeCluster` (key 60): the cluster's id and its brokers.
//!
//! Versions: 0 (flexible from the start) · 1 (brokers or controllers) · 2 (fenced brokers).
//!
//! Left out: authorization, so the cluster's authorized operations are all there are. Controllers are not told to
//! clients of a broker's listener, as in Apache.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ringmain_protocol::messages::describe_cluster_response::{
    DescribeClusterBroker, DescribeClusterResponse,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::{Answer, Broker, Context, topics};

/// Who may be asked for: brokers.
const ENDPOINT_BROKERS: i8 = 1;
/// Who may be asked for elsewhere: controllers.
const ENDPOINT_CONTROLLERS: i8 = 2;

/// Answers one `DescribeCluster`.
pub(super) fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: &DescribeClusterRequest,
) -> Answer<DescribeClusterResponse> {
    if request.endpoint_type != ENDPOINT_BROKERS {
        let code = match request.endpoint_type {
            ENDPOINT_CONTROLLERS => ErrorCode::MismatchedEndpointType,
            _ => ErrorCode::UnsupportedEndpointType,
        };
        let message = format!(
            "this listener is for clients of brokers, not for endpoint type {}",
            request.endpoint_type
        );
        return DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(Str::from(message)),
            ..DescribeClusterResponse::default()
        }
        .into();
    }
    let image = broker.image();
    let brokers = topics::nodes_and_fenced(&image, broker.listener_name(context.peer.listener))
        .filter(|node| !node.fenced || request.include_fenced_brokers)
        .map(|node| DescribeClusterBroker {
            broker_id: node.id,
            host: Str::from(node.host),
            port: node.port,
            rack: node.rack.map(Str::from),
            is_fenced: context.version >= 2 && node.fenced,
        })
        .collect();
    let mut response = DescribeClusterResponse {
        error_message: None,
        cluster_id: Str::from(&*image.cluster_id),
        controller_id: broker.settings().node_id,
        brokers,
        ..DescribeClusterResponse::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = topics::CLUSTER_OPERATIONS;
    }
    response.into()
}
