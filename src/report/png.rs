//! Small pictures for matrices, of which a rectangle each would be too many.

use std::fmt::Write as _;

/// Sixteen steps of viridis: even in lightness, and told apart with any colour vision.
///
/// # Source
/// van der Walt & Smith (2015), viridis, CC0
pub(super) const VIRIDIS: [[u8; 3]; 16] = [
    [0x44, 0x01, 0x54],
    [0x48, 0x1a, 0x6c],
    [0x47, 0x2f, 0x7d],
    [0x41, 0x44, 0x87],
    [0x39, 0x56, 0x8c],
    [0x31, 0x68, 0x8e],
    [0x2a, 0x78, 0x8e],
    [0x23, 0x88, 0x8e],
    [0x1f, 0x98, 0x8b],
    [0x22, 0xa8, 0x84],
    [0x35, 0xb7, 0x79],
    [0x54, 0xc5, 0x68],
    [0x7a, 0xd1, 0x51],
    [0xa5, 0xdb, 0x36],
    [0xd2, 0xe2, 0x1b],
    [0xfd, 0xe7, 0x25],
];

/// A picture of colours of [`VIRIDIS`] as a `data:` address.
///
/// A PNG of four bits for each pixel. Nothing is compressed: steps of noisy distances would shrink by a fifth, and a compressor is
/// more than the fifth is worth.
///
/// # Shapes
/// `levels`: rows of `width` numbers below 16
/// # Source
/// PNG (W3C, third edition), RFC 1950 and 1951 (stored blocks), RFC 4648
pub(super) fn data_uri(width: usize, levels: &[u8]) -> String {
    format!("data:image/png;base64,{}", base64(&png(width, levels)))
}

fn png(width: usize, levels: &[u8]) -> Vec<u8> {
    let height = levels.len() / width.max(1);
    let mut header = Vec::new();
    for size in [width, height] {
        header.extend(u32::try_from(size).expect("pictures are small").to_be_bytes());
    }
    header.extend([4, 3, 0, 0, 0]); // four bits, colours from a palette
    let mut rows = Vec::new();
    for row in levels.chunks(width) {
        rows.push(0); // not filtered
        rows.extend(row.chunks(2).map(|pair| (pair[0] << 4) | pair.get(1).copied().unwrap_or(0)));
    }
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header), (b"PLTE", VIRIDIS.concat()), (b"IDAT", stored(&rows)), (b"IEND", vec![])] {
        let length = u32::try_from(data.len()).expect("pictures are small");
        file.extend(length.to_be_bytes());
        let body = [&kind[..], &data].concat();
        file.extend(&body);
        file.extend(crc32(&body).to_be_bytes());
    }
    file
}

/// A zlib stream of blocks that are stored as they are.
fn stored(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let blocks: Vec<&[u8]> = data.chunks(usize::from(u16::MAX)).collect();
    for (index, block) in blocks.iter().enumerate() {
        let length = u16::try_from(block.len()).expect("blocks are cut to this");
        stream.push(u8::from(index + 1 == blocks.len()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(*block);
    }
    stream.extend(adler32(data).to_be_bytes());
    stream
}

fn adler32(data: &[u8]) -> u32 {
    let step = |(a, b): (u32, u32), byte: &u8| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    };
    let (a, b) = data.iter().fold((1, 0), step);
    (b << 16) | a
}

fn crc32(data: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|byte| {
        (0..8)
            .fold(u32::try_from(byte).expect("a byte"), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    });
    !data.iter().fold(u32::MAX, |c, byte| table[usize::from(c.to_le_bytes()[0] ^ byte)] ^ (c >> 8))
}

fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(data.len().div_ceil(3) * 4);
    for three in data.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| (bits << 8) | usize::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) & 63];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// A colour as style sheets write it.
pub(super) fn hex([r, g, b]: [u8; 3]) -> String {
    let mut text = String::from("#");
    for part in [r, g, b] {
        let _ = write!(text, "{part:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_those_of_the_standards() {
        // The check values that the standards' catalogues give for these texts.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_picture_by_hand() {
        let file = png(3, &[0, 1, 2, 15, 14, 13]);
        assert_eq!(&file[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&file[8..29], b"\0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x04\x03\0\0\0");
        let at = file.windows(4).position(|four| four == b"IDAT").expect("a picture has data") + 4;
        // Two bytes of zlib, a last stored block of 6 bytes: each row its filter and two bytes.
        assert_eq!(file[at..at + 13], [0x78, 1, 1, 6, 0, 0xf9, 0xff, 0, 0x01, 0x20, 0, 0xfe, 0xd0]);
        assert!(file.ends_with(b"\0\0\0\0IEND\xae\x42\x60\x82"));
    }

    #[test]
    fn long_streams_are_cut_into_blocks() {
        let data = vec![7; 70_000];
        let stream = stored(&data);
        assert_eq!(stream.len(), 2 + 5 + 65_535 + 5 + (70_000 - 65_535) + 4);
        assert_eq!((stream[2], stream[2 + 5 + 65_535]), (0, 1));
    }
}
