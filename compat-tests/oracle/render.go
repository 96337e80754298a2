package oracle

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// longValue is the length in bytes beyond which a value is shown by its length
// and checksum.
const longValue = 128

// usual is the identity that every full response header of a run carries. Such a
// header is shown as "{* revision: 7}"; any other one is shown field by field.
type usual struct {
	cluster, member, term uint64
}

// render shows every field that is set in m: one line for each field of m
// itself, or for each element of a repeated one. Equal messages have equal
// texts, and unequal ones differ (beyond longValue by their checksum).
func (u usual) render(m proto.Message) string {
	var b strings.Builder
	u.fields(m.ProtoReflect(), func(name, text string) {
		fmt.Fprintf(&b, "%s: %s\n", name, text)
	})
	if b.Len() == 0 {
		return "(empty)\n"
	}
	return b.String()
}

// fields calls show for each field in the order of declaration.
func (u usual) fields(m protoreflect.Message, show func(name, text string)) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		v := m.Get(f)
		if !f.IsList() {
			show(string(f.Name()), u.value(f, v))
			continue
		}
		u.list(f, v.List(), show)
	}
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		show("(unknown)", strconv.Quote(string(unknown)))
	}
}

// list shows the elements of a repeated field, with "(N times)" for equal
// neighbours.
func (u usual) list(f protoreflect.FieldDescriptor, list protoreflect.List, show func(name, text string)) {
	for i := 0; i < list.Len(); {
		text, times := u.value(f, list.Get(i)), 1
		for i+times < list.Len() && u.value(f, list.Get(i+times)) == text {
			times++
		}
		i += times
		if times > 1 {
			text += fmt.Sprintf(" (%d times)", times)
		}
		show(string(f.Name()), text)
	}
}

func (u usual) value(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch f.Kind() {
	case protoreflect.BytesKind:
		return text(v.Bytes())
	case protoreflect.StringKind:
		return text([]byte(v.String()))
	case protoreflect.EnumKind:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
			return string(e.Name())
		}
		return strconv.Itoa(int(v.Enum()))
	case protoreflect.MessageKind:
		return u.message(v.Message())
	default:
		return v.String()
	}
}

func (u usual) message(m protoreflect.Message) string {
	var parts []string
	skip := func(string) bool { return false }
	if m.Descriptor().Name() == "ResponseHeader" && u.isFull(m) {
		parts = append(parts, "*")
		skip = func(name string) bool { return name != "revision" }
	}
	u.fields(m, func(name, text string) {
		if !skip(name) {
			parts = append(parts, name+": "+text)
		}
	})
	return "{" + strings.Join(parts, " ") + "}"
}

// isFull reports whether a ResponseHeader carries the run's usual identity and
// nothing that would be lost by not showing it.
func (u usual) isFull(m protoreflect.Message) bool {
	fields := m.Descriptor().Fields()
	number := func(name protoreflect.Name) uint64 { return m.Get(fields.ByName(name)).Uint() }
	return u != usual{} && len(m.GetUnknown()) == 0 &&
		number("cluster_id") == u.cluster && number("member_id") == u.member && number("raft_term") == u.term
}

func text(b []byte) string {
	if len(b) > longValue {
		return fmt.Sprintf("(%d bytes, crc %08x)", len(b), crc32.ChecksumIEEE(b))
	}
	return strconv.QuoteToASCII(string(b))
}

// parse reads a request in protobuf's text format.
func parse(input string, m proto.Message) error {
	return prototext.Unmarshal([]byte(input), m)
}
