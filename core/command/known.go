package command

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/triglot/triglot/core/command/commandpb"
)

// known are the fields that this version gives a command. Protobuf passes over others, and
// a member that passed over what a later version has put into a command would do something
// else than the members that know it (docs/adr/0016). The decoders of ours (fields) refuse them
// by themselves.
var known = fieldsOf((&commandpb.Command{}).ProtoReflect().Descriptor(), map[protoreflect.FullName]*messageFields{})

// messageFields are the fields of a message, by number. It does not change once made.
type messageFields struct {
	// is says that there is such a field, and of is what it holds, nil unless a message.
	is []bool
	of []*messageFields
}

// fieldsOf describes a message. made has those described so far: they nest.
func fieldsOf(m protoreflect.MessageDescriptor, made map[protoreflect.FullName]*messageFields) *messageFields {
	if f := made[m.FullName()]; f != nil {
		return f
	}
	f := &messageFields{}
	made[m.FullName()] = f
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		for int(field.Number()) >= len(f.is) {
			f.is, f.of = append(f.is, false), append(f.of, nil)
		}
		f.is[field.Number()] = true
		if field.Kind() == protoreflect.MessageKind {
			f.of[field.Number()] = fieldsOf(field.Message(), made)
		}
	}
	return f
}

// check fails if a message that can be decoded has a field that this version does not know.
func (f *messageFields) check(b []byte) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if int(field) >= len(f.is) || !f.is[field] {
			return unknownField(field)
		}
		size := protowire.ConsumeFieldValue(field, kind, b[n:])
		if size < 0 {
			return protowire.ParseError(size)
		}
		if of := f.of[field]; of != nil && kind == protowire.BytesType {
			body, _ := protowire.ConsumeBytes(b[n:])
			if err := of.check(body); err != nil {
				return err
			}
		}
		b = b[n+size:]
	}
	return nil
}

func unknownField(n protowire.Number) error {
	return fmt.Errorf("a field, %d, that this version does not know", n)
}
