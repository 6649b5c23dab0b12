//! In Kafka's place: the file of an Apache node that is broker and controller in one starts the broker; what has no
//! meaning here is said once, what cannot be honoured refuses the start. Listeners are told apart.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use ringmain_tests::batch;
use ringmain_tests::broker::{Broker, binary, free_port};
use ringmain_tests::client::{Client, METADATA};
use ringmain_tests::wire::{Reader, Writer};

/// The keys of the file that Apache Kafka 4 ships, with ports and directories of a test.
fn properties(directory: &Path, clients: u16, controller: u16) -> String {
    format!(
        "# a combined node\n\
         process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.bootstrap.servers=localhost:{controller}\n\
         listeners=PLAINTEXT://:{clients},CONTROLLER://:{controller}\n\
         inter.broker.listener.name=PLAINTEXT\n\
         advertised.listeners=PLAINTEXT://localhost:{clients},CONTROLLER://localhost:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,\\\n    \
         SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
         num.network.threads=3\n\
         num.io.threads=8\n\
         socket.send.buffer.bytes=102400\n\
         socket.receive.buffer.bytes=102400\n\
         socket.request.max.bytes=104857600\n\
         log.dirs={}\n\
         num.partitions=1\n\
         num.recovery.threads.per.data.dir=1\n\
         offsets.topic.replication.factor=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         #log.flush.interval.messages=10000\n\
         log.retention.hours=168\n\
         #log.retention.bytes=1073741824\n\
         log.segment.bytes=1073741824\n\
         log.retention.check.interval.ms=300000\n",
        directory.display()
    )
}

/// The brokers that Metadata tells: host and port.
fn told(client: &mut Client) -> Vec<(String, i32)> {
    let answer = client.request(METADATA, 1, &Writer::default().i32(0).0).unwrap();
    let mut reader = Reader(&answer);
    let brokers = (0..reader.count()).map(|_| {
        reader.i32();
        let (host, port) = (reader.string(), reader.i32());
        reader.i16();
        (host.to_owned(), port)
    });
    brokers.collect()
}

/// What nodes in production say beside it.
const PRODUCTION: &str = "broker.rack=az1\n\
    auto.create.topics.enable=false\n\
    auto.leader.rebalance.enable=true\n\
    background.threads=10\n\
    compression.type=producer\n\
    connections.max.idle.ms=-1\n\
    controlled.shutdown.enable=true\n\
    default.replication.factor=1\n\
    delete.topic.enable=true\n\
    fetch.purgatory.purge.interval.requests=1000\n\
    group.initial.rebalance.delay.ms=3000\n\
    inter.broker.protocol.version=3.9\n\
    log.cleaner.enable=true\n\
    log.cleaner.threads=2\n\
    log.flush.interval.messages=10000\n\
    log.flush.interval.ms=1000\n\
    log.retention.ms=-1\n\
    log.roll.jitter.ms=1000\n\
    max.connections.per.ip=1000\n\
    message.max.bytes=104857600\n\
    metric.reporters=org.apache.kafka.common.metrics.JmxReporter\n\
    min.insync.replicas=1\n\
    num.replica.fetchers=4\n\
    offsets.retention.minutes=10080\n\
    queued.max.requests=500\n\
    replica.fetch.max.bytes=104857600\n\
    replica.lag.time.max.ms=30000\n\
    sasl.enabled.mechanisms=PLAIN\n\
    socket.connection.setup.timeout.ms=10000\n\
    ssl.keystore.location=/etc/kafka/keystore.jks\n\
    unclean.leader.election.enable=false\n";

/// What the binary says when these settings refuse the start.
fn refused(settings: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.args(["--set", &format!("log.dirs={}", directory.path().display())]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{settings:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_file_of_an_apache_node_starts_the_broker_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let (clients, controller) = (free_port(), free_port());
    let file = directory.path().join("server.properties");
    fs::write(&file, properties(&directory.path().join("logs"), clients, controller)).unwrap();
    let broker = Broker::start_with_file(&file, format!("127.0.0.1:{clients}"));
    let mut client = Client::connect(&broker.address);
    assert_eq!(told(&mut client), [("localhost".to_owned(), i32::from(clients))]);
    client.create_topic_and_wait("first", 1);
    // Without a host it listens on IPv6 too.
    assert_eq!(told(&mut Client::connect(&format!("[::1]:{clients}"))).len(), 1);
    assert!(TcpStream::connect(("127.0.0.1", controller)).is_err(), "the controller is inside");
    let log = broker.log();
    assert!(!log.contains("WARN"), "{log}");
    let note = log.lines().filter(|line| line.contains("num.io.threads")).collect::<Vec<_>>();
    assert_eq!(note.len(), 1, "{log}");
    assert!(note[0].contains("num.network.threads"), "keys with one reason share a note: {note:?}");
    assert!(log.lines().filter(|line| line.contains("without effect")).count() < 8, "{log}");
    assert!(broker.stop().success());
}

#[test]
fn the_file_of_a_node_in_production_starts_the_broker_and_holds() {
    let directory = tempfile::tempdir().unwrap();
    let (clients, controller) = (free_port(), free_port());
    let file = directory.path().join("server.properties");
    let text = properties(&directory.path().join("logs"), clients, controller) + PRODUCTION;
    fs::write(&file, text).unwrap();
    let broker = Broker::start_with_file(&file, format!("127.0.0.1:{clients}"));
    assert!(!broker.log().contains("WARN"), "{}", broker.log());
    let mut client = Client::connect(&broker.address);
    let answer = client.request(METADATA, 1, &Writer::default().i32(0).0).unwrap();
    let mut reader = Reader(&answer);
    let broker_count = reader.count();
    let _broker = (reader.i32(), reader.string(), reader.i32());
    assert_eq!((broker_count, &*reader.string()), (1, "az1"), "clients are told the rack");
    client.create_topic_and_wait("large", 1);
    let batch = batch::build(&[vec![7; 90_000_000]]);
    assert_eq!(client.produce("large", 0, &batch).unwrap().error_code, 0, "message.max.bytes holds");
    assert!(batch::records(&client.fetch("large", 0, 0).unwrap().records)[0].1 == vec![7; 90_000_000]);
    assert!(broker.stop().success());
}

#[test]
fn clients_are_told_the_address_of_the_listener_they_came_through() {
    let directory = tempfile::tempdir().unwrap();
    let (inside, outside) = (free_port(), free_port());
    let settings = [
        format!("listeners=INSIDE://127.0.0.1:{inside},OUTSIDE://[::1]:{outside},PAIR://[::1]:{inside}"),
        "advertised.listeners=OUTSIDE://broker.example:19092".to_owned(),
        "listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,PAIR:PLAINTEXT".to_owned(),
    ];
    let file = directory.path().join("several.properties");
    fs::write(
        &file,
        format!("{}\nlog.dirs={}", settings.join("\n"), directory.path().join("logs").display()),
    )
    .unwrap();
    let broker = Broker::start_with_file(&file, format!("127.0.0.1:{inside}"));
    let told = |address: String| told(&mut Client::connect(&address));
    assert_eq!(told(format!("127.0.0.1:{inside}")), [("127.0.0.1".to_owned(), i32::from(inside))]);
    assert_eq!(told(format!("[::1]:{inside}")), [("::1".to_owned(), i32::from(inside))]);
    assert_eq!(told(format!("[::1]:{outside}")), [("broker.example".to_owned(), 19_092)]);
    assert!(broker.stop().success());
}

#[test]
fn every_address_tells_the_name_of_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let file = directory.path().join("any.properties");
    let logs = directory.path().join("logs");
    fs::write(&file, format!("listeners=PLAINTEXT://0.0.0.0:{port}\nlog.dirs={}", logs.display())).unwrap();
    let broker = Broker::start_with_file(&file, format!("127.0.0.1:{port}"));
    let name = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert_eq!(told(&mut Client::connect(&broker.address)), [(name, i32::from(port))]);
    assert!(broker.stop().success());
}

#[test]
fn what_cannot_be_honoured_refuses_the_start_and_says_why() {
    for (setting, part) in [
        ("listeners=SASL_SSL://127.0.0.1:0", "TLS and SASL are not built"),
        (
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "authorization is not built",
        ),
        ("process.roles=broker", "larger cluster"),
        ("controller.quorum.voters=1@a:9093,2@b:9093", "several controllers"),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "every address"),
    ] {
        let said = refused(&[setting]);
        assert!(said.contains(part), "{setting}: {said}");
    }
}

#[test]
fn an_unknown_key_is_a_warning_that_names_the_nearest() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let file = directory.path().join("wrong.properties");
    let text = format!(
        "listeners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nnum.partitons=3\nnum.io.thread=1\nnobody.knows=1",
        directory.path().join("logs").display()
    );
    fs::write(&file, text).unwrap();
    let broker = Broker::start_with_file(&file, format!("127.0.0.1:{port}"));
    let log = broker.log();
    for part in ["did you mean num.partitions?", "did you mean num.io.threads?", "nobody.knows"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(broker.stop().success());
}
