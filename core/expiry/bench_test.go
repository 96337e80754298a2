package expiry

import (
	"fmt"
	"testing"
	"time"

	"github.com/triglot/triglot/core"
)

// leasesOf returns n leases of the given TTL.
func leasesOf(n int, ttl time.Duration) []Lease {
	leases := make([]Lease, n)
	for i := range leases {
		leases[i] = Lease{ID: core.LeaseID(i*7919 + 1), TTL: ttl}
	}
	return leases
}

// BenchmarkRenew keeps 100 000 leases of 60 s alive, each renewed every 20 s, in
// no particular order, with a tick and a look for what is due every 100 ms.
func BenchmarkRenew(b *testing.B) {
	const n = 100_000
	leases := leasesOf(n, 60*second)
	d := New(Options{})
	d.Lead(0, 1, leases, 0)
	now, i := time.Duration(0), 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		if i%(n/200) == 0 {
			now += 100 * time.Millisecond
			d.Tick(now)
			if d.Due(now, 1000) != nil {
				b.Fatal("a lease that is kept alive is due")
			}
		}
		if _, answer := d.Renew(now, leases[i*31%n].ID); answer != Renewed {
			b.Fatal(answer)
		}
	}
}

// BenchmarkDue expires 100 000 leases in commands of 500, and reports the time
// for each lease; in the second case each has been renewed since it was queued.
func BenchmarkDue(b *testing.B) {
	const n = 100_000
	for _, renewed := range []bool{false, true} {
		b.Run(fmt.Sprintf("renewed=%t", renewed), func(b *testing.B) {
			leases := leasesOf(n, 60*second)
			d := New(Options{MaxGap: time.Hour})
			b.ReportAllocs()
			var now time.Duration
			for b.Loop() {
				b.StopTimer()
				d.Lead(now, 1, leases, 0)
				if renewed {
					for i, l := range leases {
						d.Renew(now+time.Duration(i), l.ID)
					}
				}
				now += 30 * time.Minute
				b.StartTimer()
				for left := n; left > 0; left -= 500 {
					if c := d.Due(now, 500); len(c.IDs) != 500 {
						b.Fatal("not all are due")
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/lease")
		})
	}
}

// BenchmarkLead begins a leadership with 100 000 leases.
func BenchmarkLead(b *testing.B) {
	leases := leasesOf(100_000, 60*second)
	d := New(Options{})
	b.ReportAllocs()
	for b.Loop() {
		d.Lead(0, 1, leases, second)
	}
}

// BenchmarkGrantRevoke is a lease that comes and goes among 100 000.
func BenchmarkGrantRevoke(b *testing.B) {
	d := New(Options{})
	d.Lead(0, 1, leasesOf(100_000, 60*second), 0)
	b.ReportAllocs()
	for b.Loop() {
		d.Granted(0, Lease{ID: -1, TTL: 30 * second})
		d.Revoked(-1)
	}
}
