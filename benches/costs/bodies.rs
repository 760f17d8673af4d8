//! A body taken out of its framing and gathered, as one that doesn't come whole is.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use npchat::server::http::{BodyDecoder, Framing};

use crate::MESSAGE_BYTES;
use crate::clock::CpuTime;

const SMALL_CHUNK_BYTES: usize = 16;

pub(crate) fn benches(criterion: &mut Criterion<CpuTime>) {
    let message = [b'x'; MESSAGE_BYTES];
    let cases = [
        ("length", Framing::Length(MESSAGE_BYTES as u64), message.to_vec()),
        ("one chunk", Framing::Chunked, chunked(&message, MESSAGE_BYTES)),
        ("30 chunks", Framing::Chunked, chunked(&message, SMALL_CHUNK_BYTES)),
    ];
    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Bytes(MESSAGE_BYTES as u64));
    for (name, framing, input) in cases {
        let mut body = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                body.clear();
                let mut decoder = BodyDecoder::new(framing, u64::MAX).unwrap();
                let progress = decoder.append(black_box(&input), &mut body).unwrap();
                assert!(progress.is_done);
                black_box(&body);
            });
        });
    }
    group.finish();
}

fn chunked(body: &[u8], chunk_bytes: usize) -> Vec<u8> {
    let mut coded = Vec::new();
    for chunk in body.chunks(chunk_bytes) {
        coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    coded
}
