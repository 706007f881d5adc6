//! How the loss of one stream clusters: runs for the E-model, bursts and gaps for RFC 3611 §4.7.2.

/// So many packets received in a row end a burst (`Gmin` of RFC 3611 §4.7.2, its recommended value).
pub const GMIN: u8 = 16;

/// The fate of every packet of a stream, in the order of sending, added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Bursts {
    packets: u64,
    lost: u64,
    /// Sequences of packets lost in a row.
    runs: u64,
    in_run: bool,
    received_since_loss: u64,
    /// From the first to the last lost packet of what may become a burst.
    open_packets: u64,
    open_lost: u64,
    bursts: u64,
    burst_packets: u64,
    burst_lost: u64,
}

/// Bursts and gaps as RFC 3611 §4.7.2 defines them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BurstFigures {
    /// Share of packets lost within bursts, in 256ths.
    pub burst_density: u8,
    /// Share of packets lost within gaps, in 256ths.
    pub gap_density: u8,
    /// Mean length of a burst, in packets.
    pub burst_length: u32,
    /// Mean length of a gap, in packets.
    pub gap_length: u32,
}

impl Bursts {
    /// The next packet of the stream came, or never will.
    pub const fn note(&mut self, came: bool) {
        self.packets += 1;
        if came {
            self.in_run = false;
            self.received_since_loss += 1;
            return;
        }
        self.lost += 1;
        if !self.in_run {
            self.runs += 1;
            self.in_run = true;
        }
        if self.open_lost > 0 && self.received_since_loss < GMIN as u64 {
            self.open_packets += self.received_since_loss + 1;
            self.open_lost += 1;
        } else {
            self.close();
            self.open_packets = 1;
            self.open_lost = 1;
        }
        self.received_since_loss = 0;
    }

    /// A lost packet far from all others belongs to a gap; two near each other are a burst.
    const fn close(&mut self) {
        if self.open_lost > 1 {
            self.bursts += 1;
            self.burst_packets += self.open_packets;
            self.burst_lost += self.open_lost;
        }
        self.open_packets = 0;
        self.open_lost = 0;
    }

    /// Packets whose fate is known, and how many of them were lost.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.packets, self.lost)
    }

    /// `BurstR` of ITU-T G.107 §7.4 in hundredths: the mean run of lost packets over that of random loss
    /// of the same share; 100 is random, and where nothing was lost.
    #[must_use]
    pub const fn ratio_percent(&self) -> u32 {
        if self.runs == 0 || self.packets == 0 {
            return 100;
        }
        let ratio = 100 * self.lost * (self.packets - self.lost) / (self.runs * self.packets);
        if ratio < 100 {
            100
        } else if ratio > 10_000 {
            10_000
        } else {
            ratio as u32
        }
    }

    /// Bursts and gaps so far, the one under way included.
    #[must_use]
    pub fn figures(&self) -> BurstFigures {
        let mut all = *self;
        all.close();
        let density = |lost: u64, packets: u64| {
            u8::try_from((lost * 256).checked_div(packets).unwrap_or(0)).unwrap_or(u8::MAX)
        };
        let gap_packets = all.packets - all.burst_packets;
        let length = |packets: u64, count: u64| {
            u32::try_from(packets.checked_div(count).unwrap_or(0)).unwrap_or(u32::MAX)
        };
        BurstFigures {
            burst_density: density(all.burst_lost, all.burst_packets),
            gap_density: density(all.lost - all.burst_lost, gap_packets),
            burst_length: length(all.burst_packets, all.bursts),
            gap_length: length(gap_packets, all.bursts + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x` is a lost packet.
    fn of(stream: &str) -> Bursts {
        let mut bursts = Bursts::default();
        stream.bytes().for_each(|it| bursts.note(it != b'x'));
        bursts
    }

    #[test]
    fn losses_near_each_other_are_a_burst_and_a_single_one_belongs_to_the_gap() {
        let sixteen = ".".repeat(16);
        // A burst of 5 packets with 3 lost; the single loss has 16 packets on either side.
        let bursts = of(&format!("{sixteen}x.xx.x{sixteen}x{sixteen}{sixteen}"));
        let figures = bursts.figures();
        assert_eq!((figures.burst_length, figures.burst_density), (6, (4 * 256 / 6) as u8));
        assert_eq!((figures.gap_length, figures.gap_density), (65 / 2, (256 / 65) as u8));
        assert_eq!(bursts.counts(), (71, 5));
        // One packet less between them, and the single loss is part of the burst.
        let joined = of(&format!("{sixteen}x.xx.x{}x{sixteen}{sixteen}", ".".repeat(15)));
        assert_eq!(joined.figures().burst_length, 22);
    }

    #[test]
    fn the_burst_ratio_is_the_mean_run_over_that_of_random_loss() {
        // Runs of three, a tenth lost: 3 x 0.9.
        assert_eq!(of(&"xxx...........................".repeat(20)).ratio_percent(), 270);
        assert_eq!(of("x.........").ratio_percent(), 100, "never below random");
        assert_eq!(of("..........").ratio_percent(), 100);
        assert_eq!(Bursts::default().ratio_percent(), 100);
        assert_eq!(of("..........").figures(), BurstFigures { gap_length: 10, ..BurstFigures::default() });
    }
}
