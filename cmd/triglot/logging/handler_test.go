package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at is a moment in a zone, and record a line of it.
var at = time.Date(2026, 11, 22, 8, 15, 4, 123456789, time.FixedZone("", -7*3600))

func record(level slog.Level, msg string, attrs ...any) slog.Record {
	r := slog.NewRecord(at, level, msg, 0)
	r.Add(attrs...)
	return r
}

func line(t *testing.T, f Format, r slog.Record) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, NewHandler(&out, f, slog.LevelDebug).Handle(context.Background(), r))
	return out.String()
}

func TestForms(t *testing.T) {
	plain := record(slog.LevelInfo, "ready")
	timed := record(slog.LevelWarn, "slow", "start time", at.Truncate(time.Millisecond))
	full := record(slog.LevelWarn, `a "quoted" text`, "n", 7, "took", 1500*time.Millisecond,
		"error", errors.New("no luck"), slog.Group("of", "a", 1), "list", []string{"x", "y"})
	tests := []struct {
		format Format
		record slog.Record
		want   string
	}{
		{JSON, plain, `{"level":"info","ts":"2026-11-22T08:15:04.123456-0700","msg":"ready"}`},
		{JSON, timed, `{"level":"warn","ts":"2026-11-22T08:15:04.123456-0700","msg":"slow","start time":"2026-11-22T08:15:04.123000-0700"}`},
		{JSON, full, `{"level":"warn","ts":"2026-11-22T08:15:04.123456-0700","msg":"a \"quoted\" text","n":7,"took":"1.5s","error":"no luck","of":{"a":1},"list":["x","y"]}`},
		{Console, plain, "2026-11-22T08:15:04.123456-0700\tinfo\tready"},
		{Console, full, "2026-11-22T08:15:04.123456-0700\twarn\ta \"quoted\" text\t" + `{"n":7,"took":"1.5s","error":"no luck","of":{"a":1},"list":["x","y"]}`},
		{Text, plain, "2026-11-22 08:15:04.123 info  ready"},
		{Text, full, `2026-11-22 08:15:04.123 warn  a "quoted" text  n=7 took=1.5s error="no luck" of.a=1 list="[x y]"`},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want+"\n", line(t, tt.format, tt.record))
	}
}

func TestUTC(t *testing.T) {
	r := record(slog.LevelInfo, "m")
	r.Time = at.UTC()
	require.Contains(t, line(t, JSON, r), `"ts":"2026-11-22T15:15:04.123456Z"`)
}

func TestLevels(t *testing.T) {
	for level, want := range map[slog.Level]string{
		slog.LevelDebug - 4: "debug", slog.LevelDebug: "debug", slog.LevelInfo: "info", slog.LevelWarn: "warn",
		slog.LevelWarn + 1: "warn", slog.LevelError: "error", LevelFatal: "fatal",
	} {
		require.Contains(t, line(t, JSON, record(level, "m")), `{"level":"`+want+`",`)
	}
	h := NewHandler(&bytes.Buffer{}, JSON, slog.LevelWarn)
	require.False(t, h.Enabled(context.Background(), slog.LevelInfo))
	require.True(t, h.Enabled(context.Background(), slog.LevelWarn))
}

// Attributes that are called like a part of the head are attributes all the same.
func TestAttributesNamedLikeTheHead(t *testing.T) {
	got := line(t, JSON, record(slog.LevelInfo, "m", "level", 3, "time", "noon"))
	require.Equal(t, `{"level":"info","ts":"2026-11-22T08:15:04.123456-0700","msg":"m","level":3,"time":"noon"}`+"\n", got)
}

func TestDerivedLoggers(t *testing.T) {
	for format, want := range map[Format]string{
		JSON:    `,"msg":"m","component":"raft","in":{"a":1,"b":2}}` + "\n",
		Console: "\tm\t" + `{"component":"raft","in":{"a":1,"b":2}}` + "\n",
		Text:    "m  component=raft in.a=1 in.b=2\n",
	} {
		var out bytes.Buffer
		l := slog.New(NewHandler(&out, format, slog.LevelInfo))
		derived := l.With("component", "raft").WithGroup("in").With("a", 1)
		derived.Info("m", "b", 2)
		require.True(t, strings.HasSuffix(out.String(), want), out.String())
		out.Reset()
		l.Info("m")
		require.NotContains(t, out.String(), "raft", "the first logger is as it was")
	}
}

func TestCaller(t *testing.T) {
	var out bytes.Buffer
	slog.New(NewHandler(&out, JSON, slog.LevelInfo)).Info("m")
	require.Regexp(t, regexp.MustCompile(`"caller":"logging/handler_test\.go:\d+","msg"`), out.String())
	out.Reset()
	slog.New(NewHandler(&out, Console, slog.LevelInfo)).Info("m")
	require.Regexp(t, regexp.MustCompile(`\tinfo\tlogging/handler_test\.go:\d+\tm\n`), out.String())
}

// writes counts the calls of Write and checks that each is a line.
type writes struct {
	t     *testing.T
	count int
}

func (w *writes) Write(p []byte) (int, error) {
	w.count++
	var fields map[string]any
	require.NoError(w.t, json.Unmarshal(p, &fields), "%s", p)
	require.Equal(w.t, byte('\n'), p[len(p)-1])
	return len(p), nil
}

// Lines of many goroutines do not mix, and every line is JSON whatever it says.
func TestConcurrentLines(t *testing.T) {
	w := &writes{t: t}
	l := slog.New(NewHandler(w, JSON, slog.LevelInfo))
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			child := l.With("goroutine", i)
			for range 100 {
				child.Info("line\nbreak \x00 \xff \"", "key \"", "\xff\x00\n")
			}
		})
	}
	wait.Wait()
	require.Equal(t, 800, w.count)
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestWriteError(t *testing.T) {
	err := NewHandler(fullDisk{}, Text, slog.LevelInfo).Handle(context.Background(), record(slog.LevelInfo, "m"))
	require.EqualError(t, err, "no space")
}
