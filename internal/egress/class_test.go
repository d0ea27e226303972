package egress_test

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/egress"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	cases := map[egress.Class][]string{
		egress.Global: {
			"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
			"128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
			"198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.17",
			"2606:4700:4700::1111", "2001:200::1", "2400::1", "::ffff:8.8.8.8", "2002:808:808::1", "2606:4700::5efe:808:808",
		},
		egress.Unspecified: {"0.0.0.0", "0.1.2.3", "0.255.255.255", "::", "::ffff:0.0.0.0", "2002::1"},
		egress.Loopback: {
			"127.0.0.1", "127.255.255.255", "::1", "::1%lo", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
			"2002:7f00:1::", "2606:4700::5efe:127.0.0.1", "2606:4700::200:5efe:127.0.0.1",
		},
		egress.Metadata: {
			"169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254",
			"fd00:ec2::254%eth0", "fd20:ce::254", "::ffff:169.254.169.254", "::169.254.169.254", "64:ff9b::a9fe:a9fe",
			"2002:a9fe:a9fe::",
		},
		egress.LinkLocal: {"169.254.0.1", "169.254.255.255", "fe80::1", "fe80::1%eth0", "febf::1", "64:ff9b::169.254.1.1"},
		egress.Private: {
			"10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0",
			"192.168.255.255", "fc00::1", "fdff::1", "fec0::1", "feff::1", "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1",
			"2002:a00:1::", "2002:c0a8:1::",
		},
		egress.Multicast: {"224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1", "::ffff:224.0.0.1"},
		egress.Reserved: {
			"192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "240.0.0.1",
			"255.255.255.255", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "64:ff9b:1:a00:1::", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
			"2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1", "::8.8.8.8", "::ffff:0:8.8.8.8", "100::1", "4000::1",
			"5f00::1", "fe00::1", "2606:4700::1%eth0",
		},
	}
	for want, addrs := range cases {
		for _, text := range addrs {
			if got := egress.Classify(netip.MustParseAddr(text)); got != want {
				t.Errorf("Classify(%s) = %s, want %s", text, got, want)
			}
		}
	}
	if got := egress.Classify(netip.Addr{}); got != egress.Invalid {
		t.Errorf("Classify(zero) = %s, want invalid", got)
	}
}

// An address must not become more open by being written into an IPv6 address.
func TestWrappingAnIPv4AddressNeverOpensIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		inner := [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "inner"))
		tail := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "tail")
		want := egress.Classify(netip.AddrFrom4(inner))

		mapped := [16]byte{10: 0xff, 11: 0xff}
		copy(mapped[12:], inner[:])
		if got := egress.Classify(netip.AddrFrom16(mapped)); got != want {
			t.Fatalf("mapped is %s, inner is %s", got, want)
		}
		if want == egress.Global {
			return
		}
		compatible := [16]byte{}
		copy(compatible[12:], inner[:])
		nat64 := [16]byte{0x00, 0x64, 0xff, 0x9b}
		copy(nat64[12:], inner[:])
		sixToFour := [16]byte(tail)
		copy(sixToFour[:], []byte{0x20, 0x02})
		copy(sixToFour[2:], inner[:])
		isatap := [16]byte(tail)
		copy(isatap[8:], []byte{0, 0, 0x5e, 0xfe})
		copy(isatap[12:], inner[:])
		for _, form := range [][16]byte{compatible, nat64, sixToFour, isatap} {
			if got := egress.Classify(netip.AddrFrom16(form)); got == egress.Global {
				t.Fatalf("%s is global, the address inside is %s", netip.AddrFrom16(form), want)
			}
		}
	})
}
