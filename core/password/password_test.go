package password

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
	"pgregory.net/rapid"
)

// TestLikeBcrypt: what one hashes the other checks.
func TestLikeBcrypt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		password := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "password")
		other := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "other")
		theirs, err := bcrypt.GenerateFromPassword(password, MinCost)
		ours, err2 := Hash(password, MinCost)
		require.Equal(t, err, err2)
		if err != nil {
			require.Equal(t, ErrTooLong, err)
			return
		}
		require.Len(t, ours, len(theirs))
		require.Equal(t, bcrypt.CompareHashAndPassword(theirs, other) == nil, Matches(theirs, other))
		require.Equal(t, bcrypt.CompareHashAndPassword(ours, other) == nil, Matches(ours, other))
		require.NoError(t, bcrypt.CompareHashAndPassword(ours, password))
		require.True(t, Matches(theirs, password))
	})
}

// A known answer, of the C implementation; and 2y, as PHP calls the same.
func TestKnownAnswer(t *testing.T) {
	const rest = "$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	for _, version := range []string{"$2a", "$2y", "$2"} {
		require.True(t, Matches([]byte(version+rest), []byte("U*U")))
		require.False(t, Matches([]byte(version+rest), []byte("U*V")))
	}
}

func TestNoHashes(t *testing.T) {
	_, err := Hash([]byte("x"), MaxCost+1)
	require.Equal(t, bcrypt.InvalidCostError(MaxCost+1), err)
	_, err = Hash([]byte("x"), MinCost-1)
	require.Error(t, err)
	good, err := Hash([]byte("x"), MinCost)
	require.NoError(t, err)
	for _, bad := range []string{"", "x", string(good[:59]), string(good) + "x", "$3" + string(good[2:]), "$2a$99" + string(good[6:]),
		"$2a$04$" + strings.Repeat("!", textLen), string(Decoy(MinCost))} {
		require.False(t, Matches([]byte(bad), []byte("x")), bad)
	}
	require.True(t, Matches(good, []byte("x")))
	cost, err := bcrypt.Cost(Decoy(7))
	require.NoError(t, err)
	require.Equal(t, 7, cost)
}

func BenchmarkHash(b *testing.B) {
	for b.Loop() {
		if _, err := Hash([]byte("password"), DefaultCost); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBcrypt(b *testing.B) {
	for b.Loop() {
		if _, err := bcrypt.GenerateFromPassword([]byte("password"), bcrypt.DefaultCost); err != nil {
			b.Fatal(err)
		}
	}
}
