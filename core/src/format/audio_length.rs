//! The length of a file of audio, from its bytes: its start, its end, and their number. The audio is not decoded.
//!
//! - PCM in WAV has a length that its bytes alone decide.
//! - The headers of FLAC, MP3, Ogg, MP4 and `WebM` state a length or a bit rate. They may be wrong, so that a hold does not
//!   rely on them.
//! - Any other file has the length of its bytes at a usual bit rate, and at most that at the lowest.

use memchr::memmem;

/// Bytes of a second of audio: usual for compressed speech (32 kbit/s), and the fewest of a plausible file (8 kbit/s).
const USUAL_RATE: u64 = 4_000;
const LEAST_RATE: u64 = 1_000;
/// The most bytes of a second that a header is believed to state: stereo of a compact disc, uncompressed.
const MOST_RATE: u64 = 192_000;
/// The length of a file of audio, in seconds, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    /// The likely length.
    pub(super) likely: u64,
    /// The most.
    pub(super) most: u64,
    /// `true` if both are the length.
    pub(super) is_exact: bool,
}

impl Length {
    /// The length of a file with this start, this end (empty if the start is all of it) and this many bytes.
    pub(super) fn of(start: &[u8], end: &[u8], bytes: u64) -> Length {
        if let Some(rate) = rate_of_wav(start) {
            let seconds = bytes.div_ceil(rate).max(1);
            return Length { likely: seconds, most: seconds, is_exact: true };
        }
        let stated = length_of_flac(start)
            .or_else(|| length_of_mp3(start, bytes))
            .or_else(|| length_of_ogg(start, end))
            .or_else(|| length_of_mp4(start, end, bytes))
            .or_else(|| length_of_webm(start));
        let likely = stated.unwrap_or(bytes.div_ceil(USUAL_RATE)).max(bytes / MOST_RATE).max(1);
        Length { likely, most: likely.max(bytes.div_ceil(LEAST_RATE)), is_exact: false }
    }
}

fn little(bytes: &[u8], at: usize, count: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + count)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn big(bytes: &[u8], at: usize, count: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + count)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The bytes of a second of PCM in WAV. They follow from the format of a sample, and not from the rate that the header
/// states beside it.
fn rate_of_wav(start: &[u8]) -> Option<u64> {
    /// Integers, floating-point numbers, A-law, µ-law, and any of them with an extension.
    const UNCOMPRESSED: [u64; 5] = [1, 3, 6, 7, 0xFFFE];
    const MOST_SAMPLES: u64 = 768_000;
    if !start.starts_with(b"RIFF") || start.get(8..12) != Some(b"WAVE") {
        return None;
    }
    let mut at = 12;
    while start.get(at..at + 4)? != b"fmt " {
        let length = usize::try_from(little(start, at + 4, 4)?).ok()?;
        // Chunks have an even length.
        at = at.checked_add(8)?.checked_add(length)?.checked_add(length & 1)?;
    }
    let field = |offset: usize, count: usize| little(start, at + 8 + offset, count);
    let (kind, channels, samples, bits) = (field(0, 2)?, field(2, 2)?, field(4, 4)?, field(14, 2)?);
    let is_plausible = UNCOMPRESSED.contains(&kind)
        && (1..=32).contains(&channels)
        && (1..=MOST_SAMPLES).contains(&samples)
        && (8..=64).contains(&bits);
    is_plausible.then(|| samples * channels * bits.div_ceil(8))
}

/// The length that a FLAC file states.
fn length_of_flac(start: &[u8]) -> Option<u64> {
    if !start.starts_with(b"fLaC") || start.get(4)? & 0x7f != 0 {
        return None;
    }
    // 20 bits of the sample rate, 8 of the format, 36 of the number of samples.
    let packed = big(start, 18, 8)?;
    let (rate, samples) = (packed >> 44, packed & 0xf_ffff_ffff);
    (rate > 0 && samples > 0).then(|| samples.div_ceil(rate))
}

/// The length of an MP3 file: of its frames, if the first one states their number, or at the bit rate of the first one.
fn length_of_mp3(start: &[u8], bytes: u64) -> Option<u64> {
    /// In kbit/s, by the index in the header: of version 1, and of versions 2 and 2.5.
    const RATES: [[u64; 14]; 2] = [
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    const SAMPLES: [u64; 3] = [44_100, 48_000, 32_000];
    let mut at = 0;
    if start.starts_with(b"ID3") {
        // Seven bits of each byte.
        let size = start.get(6..10)?.iter().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
        at = 10 + size;
    }
    let header = big(start, at, 4)?;
    let (version, layer) = (header >> 19 & 3, header >> 17 & 3);
    // Eleven bits of a frame's beginning, and layer III.
    if header >> 21 != 0x7ff || layer != 1 || version == 1 {
        return None;
    }
    let is_first = version == 3;
    let index = usize::try_from((header >> 12 & 15).checked_sub(1)?).ok()?;
    let rate = *RATES.get(usize::from(!is_first))?.get(index)? * 1000 / 8;
    let halved = match version {
        3 => 1,
        2 => 2,
        _ => 4,
    };
    let samples = SAMPLES.get(usize::try_from(header >> 10 & 3).ok()?)? / halved;
    let is_mono = header >> 6 & 3 == 3;
    let tag = at + 4 + [[32, 17], [17, 9]].get(usize::from(!is_first))?.get(usize::from(is_mono))?;
    let has_count =
        matches!(start.get(tag..tag + 4), Some(b"Xing" | b"Info")) && big(start, tag + 4, 4)? & 1 == 1;
    if has_count {
        let frames = big(start, tag + 8, 4)?;
        return Some((frames * if is_first { 1152 } else { 576 }).div_ceil(samples));
    }
    Some(bytes.saturating_sub(at as u64).div_ceil(rate))
}

/// The length of an Ogg file with Opus, Vorbis or FLAC: the position of its last page, in samples. RFC 3533, section 6;
/// RFC 7845, sections 4 and 5.1.
fn length_of_ogg(start: &[u8], end: &[u8]) -> Option<u64> {
    const PAGE: &[u8] = b"OggS\0";
    /// The position of a page on which no packet ends.
    const NONE: u64 = u64::MAX;
    if !start.starts_with(PAGE) {
        return None;
    }
    let stream = start.get(14..18)?;
    let packet = start.get(27 + usize::from(*start.get(26)?)..)?;
    let (rate, skipped) = match packet {
        opus if opus.starts_with(b"OpusHead") => (48_000, little(opus, 10, 2)?),
        vorbis if vorbis.starts_with(b"\x01vorbis") => (little(vorbis, 12, 4)?, 0),
        flac if flac.starts_with(b"\x7fFLAC") => (big(flac, 27, 4)? >> 12, 0),
        _ => return None,
    };
    let last = if end.is_empty() { start } else { end };
    let position = memmem::rfind_iter(last, PAGE).find_map(|at| {
        let page = last.get(at..)?;
        let position = little(page, 6, 8).filter(|position| *position != NONE)?;
        (page.get(14..18)? == stream).then_some(position)
    })?;
    (rate > 0).then(|| position.saturating_sub(skipped).div_ceil(rate))
}

/// The length of an MP4 file, which the header of its `moov` states. ISO/IEC 14496-12, sections 4.2 and 8.2.2.
fn length_of_mp4(start: &[u8], end: &[u8], bytes: u64) -> Option<u64> {
    if start.get(4..8) != Some(b"ftyp") {
        return None;
    }
    // Of each box, the size and the name, or 1, the name and the size.
    let mut at = 0_u64;
    loop {
        let head = at_position(start, end, bytes, at)?;
        let size = match big(head, 0, 4)? {
            1 => big(head, 8, 8)?,
            size => size,
        };
        if head.get(4..8)? == b"moov" {
            return length_of_movie(head.get(8..)?);
        }
        at = at.checked_add(size.max(8))?;
    }
}

/// The bytes from a position of a file on, if they are in its start or its end.
fn at_position<'b>(start: &'b [u8], end: &'b [u8], bytes: u64, at: u64) -> Option<&'b [u8]> {
    let in_start = usize::try_from(at).ok().and_then(|at| start.get(at..)).filter(|rest| !rest.is_empty());
    in_start.or_else(|| {
        let before_end = bytes.checked_sub(end.len() as u64)?;
        end.get(usize::try_from(at.checked_sub(before_end)?).ok()?..)
    })
}

/// The length that the header of a movie (`mvhd`) states.
fn length_of_movie(header: &[u8]) -> Option<u64> {
    if header.get(4..8)? != b"mvhd" {
        return None;
    }
    // Version and flags, two times, the ticks of a second, and the length.
    let (rate, ticks) = match header.get(8)? {
        0 => (big(header, 20, 4)?, big(header, 24, 4).filter(|ticks| *ticks != u64::from(u32::MAX))?),
        _ => (big(header, 28, 4)?, big(header, 32, 8).filter(|ticks| *ticks != u64::MAX)?),
    };
    (rate > 0 && ticks > 0).then(|| ticks.div_ceil(rate))
}

/// The length that a `WebM` file states, if it does: a recording of a browser does not. RFC 8794, section 6; RFC 9559,
/// section 5.1.2.
fn length_of_webm(start: &[u8]) -> Option<u64> {
    const EBML: u64 = 0x1A45_DFA3;
    const SEGMENT: u64 = 0x1853_8067;
    const INFO: u64 = 0x1549_A966;
    const TIMESTAMP_SCALE: u64 = 0x2A_D7B1;
    const DURATION: u64 = 0x4489;
    const NANOS_PER_SECOND: f64 = 1e9;
    let (EBML, _, after) = element(start)? else { return None };
    let (SEGMENT, segment, _) = element(after)? else { return None };
    let info = elements(segment).find(|(name, _)| *name == INFO)?.1;
    let member = |wanted: u64| elements(info).find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let scale = member(TIMESTAMP_SCALE).map_or(Some(1_000_000), |value| big(value, 0, value.len()))?;
    let duration = member(DURATION)?;
    let short = || duration.try_into().ok().map(f32::from_be_bytes).map(f64::from);
    let ticks = duration.try_into().ok().map(f64::from_be_bytes).or_else(short)?;
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a tick, usually a million")]
    let seconds = (ticks * scale as f64 / NANOS_PER_SECOND).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared before")]
    (1.0..1e9).contains(&seconds).then_some(seconds as u64)
}

/// The elements of a master element of EBML, with their names. One that is longer than the bytes is cut.
fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let (name, value, rest) = element(bytes)?;
        bytes = rest;
        Some((name, value))
    })
}

/// The name and the value of the first element of EBML, and what follows it.
fn element(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    // The zeros before the first one tell how many bytes follow.
    let width = |at: usize| Some(bytes.get(at)?.leading_zeros() as usize + 1);
    let name_width = width(0).filter(|width| *width <= 4)?;
    let size_width = width(name_width).filter(|width| *width <= 8)?;
    let name = big(bytes, 0, name_width)?;
    let size = big(bytes, name_width, size_width)? & ((1 << (7 * size_width)) - 1);
    let rest = bytes.get(name_width + size_width..)?;
    let (value, after) = rest.split_at(usize::try_from(size).map_or(rest.len(), |size| size.min(rest.len())));
    Some((name, value, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(kind: u16, samples: u32, channels: u16, bits: u16) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        bytes.extend(kind.to_le_bytes());
        bytes.extend(channels.to_le_bytes());
        bytes.extend(samples.to_le_bytes());
        // The stated rate is not read.
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(bits.to_le_bytes());
        bytes
    }

    #[test]
    fn the_length_follows_from_the_bytes_of_wav() {
        let exact = |seconds| Length { likely: seconds, most: seconds, is_exact: true };
        assert_eq!(Length::of(&wav(1, 16_000, 1, 16), b"", 320_000), exact(10));
        assert_eq!(Length::of(&wav(0xFFFE, 44_100, 2, 24), b"", 264_601), exact(2));
        assert_eq!(Length::of(&wav(1, 16_000, 1, 16), b"", 1), exact(1));
        let guess = Length { likely: 100, most: 400, is_exact: false };
        for bytes in [wav(2, 16_000, 1, 16), wav(1, 0, 1, 16), wav(1, u32::MAX, 1, 16), wav(1, 8_000, 0, 16)]
        {
            assert_eq!(Length::of(&bytes, b"", 400_000), guess);
        }
    }

    #[test]
    fn headers_state_a_length_that_holds_do_not_rely_on() {
        let flac = |rate: u64, samples: u64| {
            let packed = rate << 44 | 15 << 36 | samples;
            [&b"fLaC\0\0\0\x22"[..], &[0; 10], &packed.to_be_bytes()].concat()
        };
        let length = |bytes: &[u8], size| {
            let Length { likely, most, is_exact } = Length::of(bytes, b"", size);
            assert!(!is_exact);
            (likely, most)
        };
        assert_eq!(length(&flac(16_000, 160_001), 200_000), (11, 200));
        // A second with 20 MB is not believed.
        assert_eq!(length(&flac(16_000, 1), 20_000_000), (104, 20_000));
        assert_eq!(length(&flac(0, 5), 4_000), (1, 4));
        // 128 kbit/s, behind tags.
        let mp3 = [&b"ID3\x04\0\0\0\0\0\x02xx"[..], &[0xff, 0xfb, 0x90, 0x00], &[0; 64]].concat();
        assert_eq!(length(&mp3, 160_012), (10, 161));
        let mut counted = mp3.clone();
        counted[12 + 4 + 32..][..4].copy_from_slice(b"Xing");
        counted[12 + 4 + 32 + 7] = 1;
        counted[12 + 4 + 32 + 10..][..2].copy_from_slice(&1000_u16.to_be_bytes());
        assert_eq!(length(&counted, 160_012), (27, 161));
        assert_eq!(length(b"OggS", 400_000), (100, 400));
        assert_eq!(length(b"", 0), (1, 1));
    }

    /// Files of 2.5 seconds, and one of half a second. Opus and AAC have a few milliseconds more.
    const FILES: [(&[u8], u64); 7] = [
        (include_bytes!("../../testdata/audio/opus.ogg"), 3),
        (include_bytes!("../../testdata/audio/vorbis.ogg"), 3),
        (include_bytes!("../../testdata/audio/end.m4a"), 3),
        (include_bytes!("../../testdata/audio/start.m4a"), 3),
        (include_bytes!("../../testdata/audio/opus.webm"), 3),
        (include_bytes!("../../testdata/audio/lame.mp3"), 3),
        (include_bytes!("../../testdata/audio/real.flac"), 1),
    ];

    #[test]
    fn real_files_state_their_length() {
        for (index, (file, seconds)) in FILES.into_iter().enumerate() {
            // As if it were longer, so that the bytes alone would say something else.
            let length = Length::of(file, b"", 40_000);
            assert_eq!(length, Length { likely: seconds, most: 40, is_exact: false }, "file {index}");
        }
    }

    /// Of a long file, only the start and the end are read.
    #[test]
    fn a_length_at_the_end_is_found_there() {
        for (file, cut) in [(FILES[0].0, 2_000), (FILES[1].0, 3_300), (FILES[2].0, 2_000)] {
            let (start, end) = (&file[..cut], &file[cut + 100..]);
            assert_eq!(Length::of(start, end, file.len() as u64).likely, 3);
            // Nothing is known of what is between them.
            assert_ne!(Length::of(start, &end[end.len() - 20..], file.len() as u64).likely, 3);
        }
    }

    #[test]
    fn no_bytes_make_a_header_panic_or_loop() {
        for (file, _) in FILES {
            for cut in 0..file.len().min(600) {
                Length::of(&file[..cut], b"", 40_000);
                Length::of(file, &file[..cut], 40_000);
                let mut wrong = file.to_vec();
                for value in [0, 0x7f, 0xff] {
                    wrong[cut] = value;
                    Length::of(&wrong, b"", 40_000);
                }
            }
        }
    }
}
