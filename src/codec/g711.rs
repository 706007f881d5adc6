//! G.711, both laws, by arithmetic and one table each (ITU-T G.711, tables 1a to 2b).

/// The two laws of G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum G711 {
    /// PCMU, North America and Japan; static payload type 0.
    MuLaw,
    /// PCMA, the rest of the world; static payload type 8.
    ALaw,
}

const MU_LAW: [i16; 256] = mu_law_table();
const A_LAW: [i16; 256] = a_law_table();

impl G711 {
    /// The name in SDP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MuLaw => "PCMU",
            Self::ALaw => "PCMA",
        }
    }

    /// One sample from its code.
    #[must_use]
    pub const fn sample(self, code: u8) -> i16 {
        match self {
            Self::MuLaw => MU_LAW[code as usize],
            Self::ALaw => A_LAW[code as usize],
        }
    }

    /// The code of one sample.
    #[must_use]
    pub const fn code(self, sample: i16) -> u8 {
        match self {
            Self::MuLaw => mu_law_code(sample),
            Self::ALaw => a_law_code(sample),
        }
    }

    /// Decodes as many samples as both slices hold.
    pub fn decode(self, codes: &[u8], samples: &mut [i16]) {
        let table = match self {
            Self::MuLaw => &MU_LAW,
            Self::ALaw => &A_LAW,
        };
        for (sample, code) in samples.iter_mut().zip(codes) {
            *sample = table[usize::from(*code)];
        }
    }

    /// Encodes as many samples as both slices hold.
    pub fn encode(self, samples: &[i16], codes: &mut [u8]) {
        match self {
            Self::MuLaw => {
                codes.iter_mut().zip(samples).for_each(|(code, sample)| *code = mu_law_code(*sample));
            }
            Self::ALaw => {
                codes.iter_mut().zip(samples).for_each(|(code, sample)| *code = a_law_code(*sample));
            }
        }
    }
}

const MU_BIAS: u32 = 132;
const MU_CLIP: u32 = 32_635;

const fn mu_law_code(sample: i16) -> u8 {
    let magnitude = sample.unsigned_abs() as u32;
    let magnitude = if magnitude > MU_CLIP { MU_CLIP } else { magnitude } + MU_BIAS;
    // The bias makes bit 7 the lowest possible leading one.
    let exponent = 24 - magnitude.leading_zeros();
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (exponent << 4) | mantissa) as u8
}

const fn mu_law_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = !(code as u8);
        let exponent = (bits >> 4) & 7;
        let magnitude = (((((bits & 0x0f) as i32) << 3) + 132) << exponent) - 132;
        table[code] = if bits & 0x80 != 0 { -magnitude } else { magnitude } as i16;
        code += 1;
    }
    table
}

const fn a_law_code(sample: i16) -> u8 {
    // 13 bits; negative values are rounded towards minus infinity by the complement.
    let (sign, magnitude) = if sample >= 0 { (0x80, sample as u32 >> 4) } else { (0, (!sample) as u32 >> 4) };
    let code = if magnitude < 32 {
        magnitude
    } else {
        let exponent = 28 - magnitude.leading_zeros();
        (exponent << 4) | ((magnitude >> (exponent - 1)) & 0x0f)
    };
    ((sign | code) ^ 0x55) as u8
}

const fn a_law_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = (code as u8) ^ 0x55;
        let exponent = (bits >> 4) & 7;
        let mantissa = ((bits & 0x0f) as i32) << 4;
        let magnitude = if exponent == 0 { mantissa + 8 } else { (mantissa + 264) << (exponent - 1) };
        table[code] = if bits & 0x80 != 0 { magnitude } else { -magnitude } as i16;
        code += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decision_values_of_the_recommendation_come_out() {
        // Table 2: 0 is all ones, full scale is 8031 of 14 bits (times 4 here).
        for (code, sample) in
            [(0xff, 0), (0x7f, 0), (0x80, 32_124), (0x00, -32_124), (0x8f, 16_764), (0xfe, 8)]
        {
            assert_eq!(G711::MuLaw.sample(code), sample, "code {code:#x}");
        }
        // Table 1: the smallest value is 1 of 13 bits, full scale 4032 (times 8 here).
        for (code, sample) in
            [(0xd5, 8), (0x55, -8), (0xaa, 32_256), (0x2a, -32_256), (0xd4, 24), (0x80, 5504)]
        {
            assert_eq!(G711::ALaw.sample(code), sample, "code {code:#x}");
        }
        assert_eq!((G711::MuLaw.code(0), G711::ALaw.code(0)), (0xff, 0xd5));
        assert_eq!((G711::MuLaw.code(i16::MIN), G711::MuLaw.code(i16::MAX)), (0x00, 0x80));
        assert_eq!((G711::ALaw.code(i16::MIN), G711::ALaw.code(i16::MAX)), (0x2a, 0xaa));
    }

    #[test]
    fn every_code_survives_a_round_trip() {
        for law in [G711::MuLaw, G711::ALaw] {
            for code in 0..=255 {
                // µ-law has two zeros; the encoder uses the positive one.
                let expected = if law == G711::MuLaw && code == 0x7f { 0xff } else { code };
                assert_eq!(law.code(law.sample(code)), expected, "{law:?} {code:#x}");
            }
        }
    }

    #[test]
    fn every_sample_gets_the_nearest_value_of_its_segment() {
        for law in [G711::MuLaw, G711::ALaw] {
            for sample in -32_000..=32_000_i16 {
                let error = i32::from(law.sample(law.code(sample))) - i32::from(sample);
                let allowed = (i32::from(sample.unsigned_abs()) / 30).max(8) + 4;
                assert!(error.abs() <= allowed, "{law:?} {sample} is off by {error}");
            }
        }
    }
}
