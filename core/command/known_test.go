package command

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command/commandpb"
)

// TestFieldsOfALaterVersionAreRefused puts a field that nobody knows into each message of
// each command: a member that passed over it would do something else than one that does not.
func TestFieldsOfALaterVersionAreRefused(t *testing.T) {
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 1999, protowire.VarintType), 1)
	who := core.Principal{User: "u", AuthRev: 2, Member: true, IDs: "x"}
	places := 0
	for _, c := range examples() {
		encoded := AppendCommandAs(nil, who, c)
		_, _, err := DecodeCommandAs(encoded)
		require.NoError(t, err)
		var m commandpb.Command
		require.NoError(t, proto.Unmarshal(encoded, &m))
		eachMessage(m.ProtoReflect(), func(part protoreflect.Message) {
			if part.Descriptor() == m.ProtoReflect().Descriptor() {
				return // a command has one kind, and who asks: see TestMalformed
			}
			places++
			part.SetUnknown(unknown)
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&m)
			require.NoError(t, err)
			part.SetUnknown(nil)
			if b[0]>>3 != byte(fieldAs) { // the order is not protobuf's
				b = asFirst(t, b)
			}
			_, _, err = DecodeCommandAs(b)
			require.ErrorIs(t, err, ErrMalformed, "%T, in %s", c, part.Descriptor().Name())
			require.ErrorContains(t, err, "1999, that this version does not know")
		})
	}
	require.Greater(t, places, 2*len(examples()))
}

// eachMessage calls fn for m and each message in it.
func eachMessage(m protoreflect.Message, fn func(protoreflect.Message)) {
	fn(m)
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.Kind() != protoreflect.MessageKind:
		case field.IsList():
			for i := range v.List().Len() {
				eachMessage(v.List().Get(i).Message(), fn)
			}
		default:
			eachMessage(v.Message(), fn)
		}
		return true
	})
}

// asFirst puts who asks in front of the command, where AppendCommandAs has it.
func asFirst(t *testing.T, b []byte) []byte {
	_, _, n := protowire.ConsumeTag(b)
	size := n + protowire.ConsumeFieldValue(1, protowire.BytesType, b[n:])
	require.Less(t, size, len(b))
	return append(append([]byte{}, b[size:]...), b[:size]...)
}
