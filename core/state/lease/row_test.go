package lease

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestRowsGolden pins the rows down: they are on disks.
func TestRowsGolden(t *testing.T) {
	secret := core.SecretHash{0: 0xab, 31: 0xcd}
	cases := map[string]struct {
		row  string
		want Lease
	}{
		"format 1":      {"01e0d40307", Lease{TTL: time.Minute, Granted: 7}},
		"a plain lease": {"0200e0d40307", Lease{TTL: time.Minute, Granted: 7}},
		"a checkpoint":  {"0202e0d40307d08c01", Lease{TTL: time.Minute, Granted: 7, Remaining: 18 * time.Second}},
		"a session": {
			"0201e0d4030703ab" + zeros(30) + "cd",
			Lease{TTL: time.Minute, Granted: 7, Epoch: 3, Secret: secret},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			row, err := hex.DecodeString(c.row)
			require.NoError(t, err)
			got, err := DecodeRow(row)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			if row[0] == formatKind {
				require.Equal(t, c.row, hex.EncodeToString(got.row()))
			}
		})
	}
}

func zeros(n int) string { return hex.EncodeToString(make([]byte, n)) }

func TestRowsThatAreNone(t *testing.T) {
	for _, row := range []string{
		"", "00", "03", "01", "01e0", "01e0d403", "01e0d4030700", "02", "0200", "0202e0d40307", "0202e0d4030700", "0202e0d40307e0d403", "0203e0d40307",
		"0201e0d40307", "0201e0d4030703", "0201e0d4030703" + zeros(31), "0201e0d4030703" + zeros(33),
		"0201e0d4030700" + zeros(32), // an epoch of zero
		"01ffffffffffffffffff0107",   // more milliseconds than a Duration holds
	} {
		b, err := hex.DecodeString(row)
		require.NoError(t, err)
		_, err = DecodeRow(b)
		require.Error(t, err, "row %q", row)
	}
}

func FuzzDecodeRow(f *testing.F) {
	for _, l := range []Lease{{TTL: time.Second, Granted: 1}, {TTL: time.Minute, Granted: 7, Remaining: time.Second}, {TTL: 1, Epoch: 9, Secret: core.SecretHash{1}}} {
		f.Add(l.row())
	}
	f.Fuzz(func(t *testing.T, row []byte) {
		l, err := DecodeRow(row)
		if err != nil {
			return
		}
		again, err := DecodeRow(l.row())
		require.NoError(t, err)
		require.Equal(t, l, again)
	})
}
