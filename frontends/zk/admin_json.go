package zk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// object is a JSON object whose fields stay in order.
type object []field

type field struct {
	key   string
	value any
}

func (o *object) put(key string, value any) { *o = append(*o, field{key, value}) }

// pretty is o as AdminServer prints it, by Jackson's DefaultPrettyPrinter. Values are
// objects, lists, texts, numbers, truths and nil.
func (o object) pretty() []byte {
	var b bytes.Buffer
	appendObject(&b, o, 1)
	return b.Bytes()
}

func appendObject(b *bytes.Buffer, o object, depth int) {
	if len(o) == 0 {
		b.WriteString("{ }")
		return
	}
	b.WriteByte('{')
	for i, f := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		indent(b, depth)
		appendText(b, f.key)
		b.WriteString(" : ")
		appendValue(b, f.value, depth)
	}
	indent(b, depth-1)
	b.WriteByte('}')
}

func indent(b *bytes.Buffer, depth int) {
	b.WriteByte('\n')
	for range depth {
		b.WriteString("  ")
	}
}

func appendValue(b *bytes.Buffer, value any, depth int) {
	switch v := value.(type) {
	case nil:
		b.WriteString("null")
	case object:
		appendObject(b, v, depth+1)
	case []object:
		appendList(b, v, depth)
	case []string:
		appendList(b, v, depth)
	case []int64:
		appendList(b, v, depth)
	case string:
		appendText(b, v)
	case int:
		b.WriteString(strconv.Itoa(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case uint64:
		b.WriteString(strconv.FormatUint(v, 10))
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case double:
		b.WriteString(v.String())
	default:
		appendText(b, fmt.Sprint(v))
	}
}

func appendList[T any](b *bytes.Buffer, all []T, depth int) {
	b.WriteByte('[')
	for i, one := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte(' ')
		appendValue(b, any(one), depth)
	}
	b.WriteString(" ]")
}

// appendText appends a string; characters beyond ASCII stay as they are.
func appendText(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)         // a string and a buffer never fail
	b.Truncate(b.Len() - 1) // its line feed
}
