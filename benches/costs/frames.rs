//! WebSocket frames in, one in each turn, after which no memory is kept; and frames out.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput};
use npchat::server::websocket::{self, Event, FrameContext, Wants, WebSocket, write_frame};
use testkit::{Frame, Opcode};

use crate::MESSAGE_BYTES;
use crate::clock::CpuTime;

/// Of the text that answers a challenge, as this crate's own clients write it.
const SOLUTION_BYTES: usize = 388;

pub(crate) fn benches(criterion: &mut Criterion<CpuTime>) {
    frames_in(criterion);
    frames_out(criterion);
}

fn frames_in(criterion: &mut Criterion<CpuTime>) {
    let cases = [
        ("text of a login", Frame::new(Opcode::TEXT, [b'x'; SOLUTION_BYTES])),
        ("pong", Frame::new(Opcode::PONG, [1, 2, 3, 4])),
        ("binary of 480 bytes", Frame::new(Opcode::BINARY, [b'x'; MESSAGE_BYTES])),
    ];
    let mut group = criterion.benchmark_group("frame in");
    for (name, frame) in cases {
        let bytes = frame.masked();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let now = Instant::now();
        let (mut socket, mut out) = (WebSocket::new(u32::MAX, now), Vec::new());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut input = black_box(bytes.as_slice());
                let mut context = FrameContext {
                    now,
                    out: &mut out,
                    frames_left: &mut 256,
                    wants: Wants::Everything,
                };
                let event = socket.receive(&mut input, &mut context).unwrap();
                assert!(event.is_some() && input.is_empty());
                if let Some(Event::Pong(_)) = event {
                    socket.forgive_control_frame();
                }
                socket.settle();
                black_box(&event);
            });
        });
    }
    group.finish();
}

fn frames_out(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("frame out");
    group.throughput(Throughput::Bytes(MESSAGE_BYTES as u64));
    let (message, mut out) = ([b'x'; MESSAGE_BYTES], Vec::new());
    group.bench_function("binary of 480 bytes", |bencher| {
        bencher.iter(|| {
            out.clear();
            write_frame(&mut out, websocket::Opcode::Binary, black_box(&message));
            black_box(&out);
        });
    });
    group.finish();
}
