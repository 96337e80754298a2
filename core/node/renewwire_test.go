package node

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/expiry"
)

func TestQuestionsOfLeases(t *testing.T) {
	b := &expiry.Batch{Touches: []core.LeaseID{1, math.MaxInt64}, Leases: []core.LeaseID{-1, 7}}
	f, err := readFields(encodeBatch(b))
	require.NoError(t, err)
	require.Equal(t, b.Touches, f.ids(1))
	require.Equal(t, b.Leases, f.ids(2))
	require.Empty(t, encodeBatch(&expiry.Batch{}), "an empty batch is an empty message")

	for _, want := range []expiry.Answer{
		{Leases: []expiry.Outcome{}},
		{Term: math.MaxUint64, Confirmed: true, Leases: []expiry.Outcome{
			{Answer: expiry.Renewed, TTL: math.MaxInt64}, {Answer: expiry.Overdue}, {Answer: expiry.Checkpointed},
		}},
	} {
		got, err := decodeAnswer(encodeAnswer(want))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	later := appendList(appendList(nil, 3, []uint64{99}, asItIs), 4, []uint64{5}, asItIs)
	got, err := decodeAnswer(later)
	require.NoError(t, err)
	require.Equal(t, expiry.NotLeading, got.Leases[0].Answer, "an answer of a later version")

	all := []left{{true, -time.Hour}, {}, {true, math.MaxInt64}}
	term, back, err := decodeLeft(encodeLeft(3, all))
	require.NoError(t, err)
	require.EqualValues(t, 3, term)
	require.Equal(t, all, back)
}

func asItIs(v uint64) uint64 { return v }

func TestBadQuestionsOfLeases(t *testing.T) {
	many := appendList(nil, 1, make([]uint64, expiry.MaxBatch+1), asItIs)
	for name, body := range map[string][]byte{
		"cut short": {0x0a, 5, 1}, "no tag": {0xff}, "a number cut short": {0x0a, 1, 0xff}, "too many": many,
	} {
		_, err := readFields(body)
		require.ErrorIs(t, err, errBadQuestion, name)
	}
	_, err := decodeAnswer(appendList(nil, 3, []uint64{1}, asItIs))
	require.ErrorIs(t, err, errBadQuestion)
	_, _, err = decodeLeft(appendList(nil, 2, []uint64{1}, asItIs))
	require.ErrorIs(t, err, errBadQuestion)

	// What a later version adds is passed over.
	later := protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte("new"))
	later = protowire.AppendFixed64(protowire.AppendTag(later, 1, protowire.Fixed64Type), 1)
	f, err := readFields(append(later, appendNumber(nil, 2, 8)...))
	require.NoError(t, err)
	require.Empty(t, f.ids(1))
	require.Equal(t, []core.LeaseID{8}, f.ids(2))
}

func FuzzQuestionsOfLeases(f *testing.F) {
	f.Add(encodeBatch(&expiry.Batch{Touches: []core.LeaseID{1, 2}, Leases: []core.LeaseID{3}}))
	f.Add(encodeAnswer(expiry.Answer{Term: 1, Leases: []expiry.Outcome{{TTL: 5}}}))
	f.Add(encodeLeft(1, []left{{true, 3}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := readFields(b); err == nil {
			for _, list := range got {
				require.LessOrEqual(t, len(list), expiry.MaxBatch)
			}
		}
		if a, err := decodeAnswer(b); err == nil {
			again, err := decodeAnswer(encodeAnswer(a))
			require.NoError(t, err)
			require.Equal(t, a, again)
		}
		if term, all, err := decodeLeft(b); err == nil {
			term2, again, err := decodeLeft(encodeLeft(term, all))
			require.NoError(t, err)
			require.Equal(t, term, term2)
			require.Equal(t, all, again)
		}
	})
}
