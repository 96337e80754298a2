package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
)

// Format is the form of a line.
type Format uint8

// The forms.
const (
	// JSON is etcd's: an object with level, ts, caller and msg in front.
	JSON Format = iota
	// Console is etcd's other form: the same four with tabs between, and the rest
	// as an object.
	Console
	// Text is for people: time, level, message, key=value.
	Text
)

// LevelFatal is the level of the line that says why the process ends.
const LevelFatal = slog.LevelError + 4

// etcdTime is how etcd writes a time.
const etcdTime = "2006-01-02T15:04:05.000000Z0700"

// NewHandler makes a handler that writes lines of at least a level to out, each
// with one Write. It is safe for concurrent use.
func NewHandler(out io.Writer, format Format, level slog.Leveler) slog.Handler {
	h := &handler{format: format, level: level, shared: &shared{out: out}}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: withoutHead}
	if format == Text {
		h.rest = slog.NewTextHandler(&h.shared.rest, options)
	} else {
		h.rest = slog.NewJSONHandler(&h.shared.rest, options)
	}
	return h
}

// handler writes the head of a line itself and leaves the attributes to a
// handler of the standard library.
type handler struct {
	format Format
	level  slog.Leveler
	rest   slog.Handler // writes to shared.rest
	shared *shared
}

// shared is what a handler and those derived from it have in common.
type shared struct {
	// mu guards what follows, and the order of the lines.
	mu   sync.Mutex
	out  io.Writer
	rest bytes.Buffer
	line bytes.Buffer
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.rest = h.rest.WithAttrs(attrs)
	return &c
}

func (h *handler) WithGroup(name string) slog.Handler {
	c := *h
	c.rest = h.rest.WithGroup(name)
	return &c
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	s := h.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest.Reset()
	s.line.Reset()
	if err := h.rest.Handle(ctx, r); err != nil {
		return err
	}
	rest := bytes.TrimSuffix(s.rest.Bytes(), []byte("\n"))
	switch h.format {
	case JSON:
		writeJSON(&s.line, r, rest)
	case Console:
		writeConsole(&s.line, r, rest)
	case Text:
		writeText(&s.line, r, rest)
	}
	_, err := s.out.Write(s.line.Bytes())
	return err
}

// writeJSON puts the head in front of the object of the attributes.
func writeJSON(line *bytes.Buffer, r slog.Record, rest []byte) {
	line.WriteString(`{"level":"` + levelName(r.Level) + `","ts":"` + r.Time.Format(etcdTime) + `"`)
	if c := caller(r.PC); c != "" {
		line.WriteString(`,"caller":`)
		writeString(line, c)
	}
	line.WriteString(`,"msg":`)
	writeString(line, r.Message)
	if len(rest) > len("{}") {
		line.WriteByte(',')
		line.Write(rest[1:])
	} else {
		line.WriteByte('}')
	}
	line.WriteByte('\n')
}

func writeConsole(line *bytes.Buffer, r slog.Record, rest []byte) {
	line.WriteString(r.Time.Format(etcdTime) + "\t" + levelName(r.Level))
	if c := caller(r.PC); c != "" {
		line.WriteString("\t" + c)
	}
	line.WriteString("\t" + r.Message)
	if len(rest) > len("{}") {
		line.WriteByte('\t')
		line.Write(rest)
	}
	line.WriteByte('\n')
}

func writeText(line *bytes.Buffer, r slog.Record, rest []byte) {
	const widest = len("debug")
	level := levelName(r.Level)
	line.WriteString(r.Time.Format("2006-01-02 15:04:05.000 ") + level)
	for range widest - len(level) + 1 {
		line.WriteByte(' ')
	}
	line.WriteString(r.Message)
	if len(rest) > 0 {
		line.WriteString("  ")
		line.Write(rest)
	}
	line.WriteByte('\n')
}

// writeString writes s as JSON. A string cannot fail to be written.
func writeString(line *bytes.Buffer, s string) {
	b, _ := json.Marshal(s) //nolint:errchkjson // a string
	line.Write(b)
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warn"
	case l < LevelFatal:
		return "error"
	default:
		return "fatal"
	}
}

// caller is the place of a call as package/file.go:line.
func caller(pc uintptr) string {
	if pc == 0 {
		return ""
	}
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	if frame.File == "" {
		return ""
	}
	dir, file := filepath.Split(frame.File)
	return filepath.Base(dir) + "/" + file + ":" + strconv.Itoa(frame.Line)
}

// withoutHead leaves out what the handler writes itself, and writes times and
// durations as etcd does, as text.
func withoutHead(groups []string, a slog.Attr) slog.Attr {
	switch {
	case len(groups) > 0:
	case a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime, a.Key == slog.MessageKey:
		return slog.Attr{}
	case a.Key == slog.LevelKey:
		if _, ok := a.Value.Any().(slog.Level); ok {
			return slog.Attr{}
		}
	}
	switch a.Value.Kind() { //nolint:exhaustive // the others are as they are
	case slog.KindDuration:
		a.Value = slog.StringValue(a.Value.Duration().String())
	case slog.KindTime:
		a.Value = slog.StringValue(a.Value.Time().Format(etcdTime))
	}
	return a
}
