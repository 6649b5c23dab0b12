//! Binding and accepting.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use ringmain_storage::io::Io;

use super::admission::{AdmissionLimits, address_max};
use super::handover::{Arrival, Newcomer};
use super::{Net, Open, connection, socket::Socket};
use crate::handler::{Broker, Peer};

/// Pause when the process has no descriptors left: accepting at once again would spin.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// The most that `listen` is asked for: the kernel's own limit on every host we know.
const BACKLOG_MAX: i32 = 4096;

/// A listener that could not be had, in words.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there.
    #[error("{address} is in use: another broker runs there, or `listeners` should name another port")]
    InUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// What to bind.
#[derive(Debug, Clone, Copy)]
pub struct BindOptions {
    /// The address; `::` takes IPv4 too unless `only_v6` is set.
    pub address: SocketAddr,
    /// Whether IPv4 is left alone.
    pub only_v6: bool,
    /// Connections that the kernel keeps until they are accepted.
    pub backlog: i32,
}

/// Tries of an address in use, and the pause between them: the kernel takes a killed broker's rings down, and
/// the socket they wait on, a moment after the process is gone. Two seconds are far more than that takes.
const BIND_TRIES: usize = 100;
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// Binds and listens; the kernel queues connections from here on, nothing is accepted yet. Blocks while another
/// process has the address, for two seconds: call it before any executor runs.
pub fn bind(options: BindOptions) -> Result<TcpListener, BindError> {
    let address = options.address;
    let mut opened = open(options);
    for _ in 1..BIND_TRIES {
        if !opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "before any executor runs")]
        std::thread::sleep(BIND_PAUSE);
        opened = open(options);
    }
    opened.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        _ => BindError::Other { address, source },
    })
}

fn open(options: BindOptions) -> io::Result<TcpListener> {
    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
        sockopt,
    };
    let family = if options.address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if options.address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &options.only_v6)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(options.address))?;
    // The kernel cuts what is above its own limit.
    listen(&socket, Backlog::new(options.backlog.min(BACKLOG_MAX))?)?;
    Ok(TcpListener::from(socket))
}

/// Accepts until the shard drains.
pub(super) async fn accept_loop<I: Io>(net: Rc<Net<I>>, listener: TcpListener) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("the listener cannot be watched: {error}");
            return;
        }
    };
    loop {
        let stop = net.stop_accepting.listen();
        if net.draining.get() {
            return;
        }
        let Either::Right((accepted, _)) = select(stop, pin!(listener.accept())).await else { return };
        match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => net.place(stream, peer),
            Err(error) if is_exhausted(&error) => {
                tracing::warn!("no descriptor is left for a new connection ({error}); raise `ulimit -n`");
                net.io.sleep(EXHAUSTED_PAUSE).await;
            }
            // The peer gave up between its knock and our opening.
            Err(error) => tracing::debug!("accept: {error}"),
        }
    }
}

/// Serves a connection on this shard, which counts it already.
pub(super) fn admit<I: Io>(
    net: &Rc<Net<I>>,
    stream: std::net::TcpStream,
    Newcomer { peer, arrival, admission }: Newcomer,
) {
    let listener = stream.local_addr().map(|local| net.broker.listener_at(local)).unwrap_or_default();
    let socket = match Socket::new(stream) {
        Ok(socket) if !net.draining.get() => socket,
        Ok(_) => return net.peers.left(),
        Err(error) => {
            tracing::debug!(%peer, "a connection broke before it began: {error}");
            return net.peers.left();
        }
    };
    let id = net.next_id.get();
    net.next_id.set(id.wrapping_add(1));
    let open = Rc::new(Open::new(id, (socket, admission), Peer { address: peer, listener }, net.io.now()));
    if arrival == Arrival::Moved {
        open.asked_before();
    }
    net.open.borrow_mut().insert(id, Rc::clone(&open));
    let net_of_task = Rc::clone(net);
    net.io.spawn(async move {
        connection::run(&net_of_task, &open).await;
        net_of_task.open.borrow_mut().remove(&id);
        net_of_task.peers.left();
        net_of_task.gone.notify(usize::MAX);
    });
}

/// The limits for one more connection from this address, as they are now.
pub(super) fn limits_of<I: Io>(broker: &Broker<I>, address: IpAddr) -> AdmissionLimits {
    let count =
        |name| broker.integer(name).and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let overrides = broker.text("max.connections.per.ip.overrides");
    AdmissionLimits {
        all_max: count("max.connections"),
        address_max: address_max(&overrides, address, count("max.connections.per.ip")),
    }
}

/// Whether the process (`EMFILE`) or the host (`ENFILE`) has no descriptor left.
fn is_exhausted(error: &io::Error) -> bool {
    use nix::errno::Errno;
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}
