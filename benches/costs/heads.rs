//! A request head, found and parsed: the least that a POST needs, and what common clients send.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use npchat::server::http::{HeadScanner, RequestHead};

use crate::clock::CpuTime;

const ID: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
const MINIMAL: &str = "Host: relay.example\r\nContent-Length: 480\r\n";
const CURL: &str = "Host: relay.example\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\nContent-Length: 480\r\n\
    Content-Type: application/x-www-form-urlencoded\r\n";
const BROWSER: &str = "Host: relay.example\r\nConnection: keep-alive\r\nContent-Length: 480\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/142.0.0.0 Safari/537.36\r\n\
    sec-ch-ua: \"Chromium\";v=\"142\", \"Google Chrome\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n\
    Content-Type: text/plain;charset=UTF-8\r\nsec-ch-ua-mobile: ?0\r\nAccept: */*\r\n\
    Origin: https://chat.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
    Referer: https://chat.example/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: de-DE,de;q=0.9,en;q=0.8\r\n";

pub(crate) fn benches(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("request head");
    for (name, fields) in [("minimal", MINIMAL), ("curl", CURL), ("browser", BROWSER)] {
        let head = format!("POST /{ID} HTTP/1.1\r\n{fields}\r\n");
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let input = black_box(head.as_bytes());
                let length = HeadScanner::default().scan(input).unwrap().unwrap();
                let head = RequestHead::parse(&input[..length]).unwrap();
                black_box(&head);
            });
        });
    }
    group.finish();
}
