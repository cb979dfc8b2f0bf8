//! Cities with their real coordinates, and the networks that people and hosts of the simulated world reach the internet from.
//!
//! Nothing here belongs to attackers alone: homes, hosting, mobile and VPN networks serve both sides.

use super::rng::Rng;

/// A city: name, ISO country, degrees latitude and longitude, standard offset from UTC in minutes.
#[derive(Clone, Copy, Debug)]
pub(super) struct City {
    pub(super) name: &'static str,
    pub(super) country: &'static str,
    pub(super) lat: f64,
    pub(super) lon: f64,
    pub(super) utc_offset_minutes: i32,
}

const fn city(name: &'static str, country: &'static str, lat: f64, lon: f64, utc_offset_minutes: i32) -> City {
    City { name, country, lat, lon, utc_offset_minutes }
}

/// The first [`SITES`] have an office.
#[rustfmt::skip]
pub(super) const CITIES: [City; 42] = [
    city("Frankfurt am Main", "DE", 50.1109, 8.6821, 60), city("New York", "US", 40.7128, -74.0060, -300),
    city("London", "GB", 51.5072, -0.1276, 0), city("Bengaluru", "IN", 12.9716, 77.5946, 330),
    city("Berlin", "DE", 52.5200, 13.4050, 60), city("Munich", "DE", 48.1351, 11.5820, 60),
    city("Hamburg", "DE", 53.5511, 9.9937, 60), city("Cologne", "DE", 50.9375, 6.9603, 60),
    city("Boston", "US", 42.3601, -71.0589, -300), city("Philadelphia", "US", 39.9526, -75.1652, -300),
    city("Chicago", "US", 41.8781, -87.6298, -360), city("San Francisco", "US", 37.7749, -122.4194, -480),
    city("Manchester", "GB", 53.4808, -2.2426, 0), city("Birmingham", "GB", 52.4862, -1.8904, 0),
    city("Chennai", "IN", 13.0827, 80.2707, 330), city("Hyderabad", "IN", 17.3850, 78.4867, 330),
    city("Mumbai", "IN", 19.0760, 72.8777, 330), city("Paris", "FR", 48.8566, 2.3522, 60),
    city("Lyon", "FR", 45.7640, 4.8357, 60), city("Amsterdam", "NL", 52.3676, 4.9041, 60),
    city("Madrid", "ES", 40.4168, -3.7038, 60), city("Lisbon", "PT", 38.7223, -9.1393, 0),
    city("Rome", "IT", 41.9028, 12.4964, 60), city("Milan", "IT", 45.4642, 9.1900, 60),
    city("Vienna", "AT", 48.2082, 16.3738, 60), city("Zurich", "CH", 47.3769, 8.5417, 60),
    city("Warsaw", "PL", 52.2297, 21.0122, 60), city("Stockholm", "SE", 59.3293, 18.0686, 60),
    city("Bucharest", "RO", 44.4268, 26.1025, 120), city("Istanbul", "TR", 41.0082, 28.9784, 180),
    city("Kyiv", "UA", 50.4501, 30.5234, 120), city("Dubai", "AE", 25.2048, 55.2708, 240),
    city("Singapore", "SG", 1.3521, 103.8198, 480), city("Hong Kong", "HK", 22.3193, 114.1694, 480),
    city("Tokyo", "JP", 35.6762, 139.6503, 540), city("Seoul", "KR", 37.5665, 126.9780, 540),
    city("Sydney", "AU", -33.8688, 151.2093, 600), city("Sao Paulo", "BR", -23.5505, -46.6333, -180),
    city("Toronto", "CA", 43.6532, -79.3832, -300), city("Mexico City", "MX", 19.4326, -99.1332, -360),
    city("Johannesburg", "ZA", -26.2041, 28.0473, 120), city("Hanoi", "VN", 21.0278, 105.8342, 420),
];

/// Offices, in the first cities. Where each one's people may live: indices into [`CITIES`].
pub(super) const SITES: usize = 4;
pub(super) const HOMES: [&[u16]; SITES] = [&[0, 0, 0, 0, 7], &[1, 1, 1, 1, 9], &[2, 2, 2, 2, 13], &[3, 3, 3, 3, 14]];

/// A network operator: its number, and the first two octets its addresses start with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    pub(super) asn: u32,
    pub(super) prefix: [u8; 2],
}

const fn network(asn: u32, first: u8, second: u8) -> Network {
    Network { asn, prefix: [first, second] }
}

/// Country, its home provider, its mobile carrier.
#[rustfmt::skip]
const PROVIDERS: [(&str, Network, Network); 26] = [
    ("DE", network(3320, 87, 150), network(12638, 176, 4)), ("US", network(7922, 73, 162), network(21928, 172, 56)),
    ("GB", network(2856, 86, 148), network(12576, 31, 105)), ("IN", network(9829, 117, 197), network(55836, 49, 36)),
    ("FR", network(3215, 90, 44), network(15557, 77, 136)), ("NL", network(1136, 84, 84), network(31615, 178, 84)),
    ("ES", network(3352, 83, 43), network(12430, 178, 139)), ("PT", network(3243, 85, 242), network(12353, 148, 63)),
    ("IT", network(3269, 79, 20), network(30722, 151, 57)), ("AT", network(8447, 91, 113), network(8412, 46, 74)),
    ("CH", network(3303, 85, 3), network(15796, 178, 38)), ("PL", network(5617, 83, 20), network(8374, 37, 248)),
    ("SE", network(3301, 90, 224), network(1257, 83, 187)), ("RO", network(8708, 86, 120), network(12302, 46, 97)),
    ("TR", network(9121, 88, 230), network(15897, 46, 196)), ("UA", network(15895, 93, 72), network(21497, 178, 133)),
    ("AE", network(5384, 86, 98), network(15802, 94, 200)), ("SG", network(9506, 116, 88), network(9506, 118, 200)),
    ("HK", network(4760, 112, 118), network(9231, 203, 186)), ("JP", network(2516, 106, 154), network(9605, 49, 98)),
    ("KR", network(4766, 121, 134), network(9644, 223, 38)), ("AU", network(1221, 110, 142), network(133_612, 120, 18)),
    ("BR", network(28_573, 177, 32), network(26_599, 187, 26)), ("CA", network(577, 70, 48), network(812, 99, 224)),
    ("MX", network(8151, 187, 190), network(28_403, 189, 128)), ("ZA", network(37_457, 105, 224), network(29_975, 41, 13)),
];
const PROVIDER_ELSEWHERE: (Network, Network) = (network(45_899, 113, 160), network(24_086, 171, 224));

/// Rented servers, where software as a service, small web sites and command servers all live.
#[rustfmt::skip]
pub(super) const HOSTING: [Network; 12] = [
    network(16_276, 51, 68), network(24_940, 116, 203), network(14_061, 157, 245), network(16_509, 52, 95),
    network(16_509, 3, 120), network(15_169, 142, 250), network(8075, 20, 190), network(13_335, 104, 18),
    network(20_473, 45, 76), network(63_949, 172, 104), network(60_781, 85, 17), network(54_113, 151, 101),
];

/// Egress of VPN services and of the company's own secure web gateway; product.md exempts log-ins from them.
pub const VPN_ASNS: [u32; 3] = [9009, 212_238, 62_044];
pub(super) const VPN_NETWORKS: [Network; 3] = [network(9009, 185, 244), network(212_238, 138, 199), network(62_044, 165, 225)];
/// Satellite access; exempt as well.
pub const SATELLITE_ASNS: [u32; 1] = [14_593];
pub(super) const SATELLITE_NETWORK: Network = network(14_593, 98, 97);
/// Operating-system privacy relays; exempt as well.
pub const RELAY_ASNS: [u32; 1] = [36_183];
pub(super) const RELAY_NETWORK: Network = network(36_183, 172, 225);

/// Where a log-in appears to come from, as a geo database says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geo {
    pub(super) city: u16,
    /// Ten-thousandths of a degree.
    pub(super) lat_e4: i32,
    pub(super) lon_e4: i32,
    pub(super) asn: u32,
}

/// A public address and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Egress {
    pub(super) address: u32,
    pub(super) geo: Geo,
}

impl Network {
    pub(super) fn address(self, rng: &mut Rng) -> u32 {
        u32::from(self.prefix[0]) << 24 | u32::from(self.prefix[1]) << 16 | rng.below(255) << 8 | (1 + rng.below(253))
    }

    /// A customer's address in `city`; `spread_degrees` is how far off the database puts it.
    pub(super) fn egress(self, city: u16, spread_degrees: f64, rng: &mut Rng) -> Egress {
        let place = &CITIES[city as usize];
        let lat_e4 = ((place.lat + rng.normal() * spread_degrees) * 10_000.0) as i32;
        let lon_e4 = ((place.lon + rng.normal() * spread_degrees) * 10_000.0) as i32;
        Egress { address: self.address(rng), geo: Geo { city, lat_e4, lon_e4, asn: self.asn } }
    }
}

fn providers(city: u16) -> (Network, Network) {
    let country = CITIES[city as usize].country;
    PROVIDERS.iter().find(|p| p.0 == country).map_or(PROVIDER_ELSEWHERE, |p| (p.1, p.2))
}

/// A home or hotel connection in `city`.
pub(super) fn residential(city: u16, rng: &mut Rng) -> Egress {
    providers(city).0.egress(city, 0.04, rng)
}

/// A phone in `city`: carriers' gateways are placed less exactly.
pub(super) fn mobile(city: u16, rng: &mut Rng) -> Egress {
    providers(city).1.egress(city, 0.12, rng)
}

/// Great-circle distance in kilometres (haversine, mean earth radius 6371.0088 km).
pub(super) fn distance_km(a: Geo, b: Geo) -> f64 {
    let radians = |e4: i32| f64::from(e4) * 1e-4 * std::f64::consts::PI / 180.0;
    let (lat_a, lat_b) = (radians(a.lat_e4), radians(b.lat_e4));
    let half = |x: f64| {
        let sine = libm::sin(x / 2.0);
        sine * sine
    };
    let h = half(lat_b - lat_a) + libm::cos(lat_a) * libm::cos(lat_b) * half(radians(b.lon_e4) - radians(a.lon_e4));
    2.0 * 6371.0088 * libm::asin(libm::sqrt(h))
}

/// The middle of a city, without a network.
pub(super) fn centre(city: u16) -> Geo {
    let place = &CITIES[city as usize];
    Geo { city, lat_e4: (place.lat * 10_000.0) as i32, lon_e4: (place.lon * 10_000.0) as i32, asn: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distances_hold() {
        let between = |a: &str, b: &str| {
            let find = |name| CITIES.iter().position(|c| c.name == name).unwrap() as u16;
            distance_km(centre(find(a)), centre(find(b)))
        };
        assert!((between("London", "Paris") - 344.0).abs() < 3.0);
        assert!((between("New York", "Tokyo") - 10_850.0).abs() < 40.0);
        assert!(between("Sydney", "Sydney") < 1e-9);
    }

    #[test]
    fn offices_and_homes_lie_together() {
        for (site, homes) in HOMES.iter().enumerate() {
            for &home in *homes {
                assert!(distance_km(centre(site as u16), centre(home)) < 320.0);
            }
        }
    }
}
