//! The admin listener over plain HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;

/// Status and body of a request without keep-alive.
pub fn ask(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// The sum of a metric over all samples whose line begins so.
pub fn metric(address: &str, name: &str, label: &str) -> f64 {
    let (status, text) = ask(address, "GET", "/metrics", "");
    assert_eq!(status, 200);
    let samples = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}
