use proptest::prelude::*;

use super::*;
use crate::wire::hello::Hello;
use crate::wire::session::{ToClient, ToMds};

mod golden;

#[test]
fn frames_come_out_as_they_went_in_however_they_are_cut() {
    let mut bytes = Vec::new();
    for value in 0..100u32 {
        encode_frame(&vec![value; value as usize], &mut bytes);
    }
    for cut in [1, 2, 3, 7, 64, 4096, bytes.len()] {
        let mut deframer = Deframer::new(1024);
        let mut values = 0;
        for part in bytes.chunks(cut) {
            deframer.push(part);
            while let Some(value) = deframer.pop::<Vec<u32>>().unwrap() {
                assert_eq!(value, vec![values; values as usize]);
                values += 1;
            }
        }
        assert_eq!(values, 100, "in parts of {cut}");
    }
}

#[test]
fn a_frame_above_the_limit_is_refused_before_it_arrives() {
    let mut deframer = Deframer::new(16);
    deframer.push(&17u32.to_le_bytes());
    assert_eq!(deframer.pop::<u8>(), Err(DecodeError::TooLong { length: 17, max: 16 }));
}

#[test]
fn bytes_after_the_value_are_refused() {
    assert_eq!(decode::<u8>(&[7, 0]), Err(DecodeError::TrailingBytes(1)));
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = decode::<Hello>(&bytes);
        let _ = decode::<ToMds>(&bytes);
        let _ = decode::<ToClient>(&bytes);
        let _ = decode::<admin::AdminRequest>(&bytes);
        let _ = decode::<monitor::ToMonitor>(&bytes);
        let _ = decode::<monitor::FromMonitor>(&bytes);
        let mut deframer = Deframer::new(128);
        deframer.push(&bytes);
        while let Ok(Some(_)) = deframer.pop::<ToMds>() {}
    }
}
