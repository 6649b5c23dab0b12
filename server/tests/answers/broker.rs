//! The broker under test, as a process of its own, and a connection that speaks through the codec.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringmain_protocol::messages::request_header::RequestHeader;
use ringmain_protocol::messages::response_header::ResponseHeader;
use ringmain_protocol::{ApiKey, Message, Reader, Request, Writer};

/// A read that waits longer is a broker that does not answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running broker in a directory of its own. Dropping it kills it.
pub(crate) struct Broker {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Broker {
    /// Starts the binary with settings (`key=value`) and returns when it says where it listens.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringmain"));
        command.args(["--set", "listeners=PLAINTEXT://127.0.0.1:0"]);
        command.args(["--set", &format!("log.dirs={}", directory.path().display())]);
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = loop {
            let line = said.next().expect("the broker says where it listens before it ends").unwrap();
            eprintln!("{line}");
            if let Some((_, rest)) = line.split_once(" listens on ") {
                break rest.split([' ', ',', ';']).next().unwrap().to_owned();
            }
        };
        // What it logs belongs to the test's own output, which is shown when it fails.
        std::thread::spawn(move || said.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        Self { process, address, _directory: directory }
    }

    /// A new connection to it.
    pub(crate) fn connect(&self) -> Connection {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream, correlation_id: 0 }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// One connection, one request at a time.
pub(crate) struct Connection {
    stream: TcpStream,
    correlation_id: i32,
}

impl Connection {
    /// Asks, and reads the answer to its end in the version of the request. The error is what the socket
    /// says; an answer of another form fails the test.
    pub(crate) fn ask<R: Request>(&mut self, request: &R, version: i16) -> io::Result<R::Response> {
        self.correlation_id += 1;
        let key = ApiKey::try_from(R::API_KEY).unwrap();
        let header = RequestHeader {
            request_api_key: R::API_KEY,
            request_api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some("answers".into()),
            ..RequestHeader::default()
        };
        let mut writer = Writer::new();
        header.write(&mut writer, key.request_header_version(version)).unwrap();
        request.write(&mut writer, version).unwrap();
        let frame = writer.finish().into_bytes();
        self.stream.write_all(&i32::try_from(frame.len()).unwrap().to_be_bytes())?;
        self.stream.write_all(&frame)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut answer)?;
        let mut reader = Reader::new(answer.into());
        let header = ResponseHeader::read(&mut reader, key.response_header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id);
        let answer = R::Response::read(&mut reader, version)
            .and_then(|answer| reader.finish(R::NAME).map(|()| answer));
        Ok(answer.unwrap_or_else(|error| panic!("{} version {version}: the answer: {error}", R::NAME)))
    }
}
