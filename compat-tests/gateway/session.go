package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// noNewline marks a last line that does not end.
const noNewline = " (no newline)"

// request is one HTTP request to the client port.
type request struct {
	method, path, body string
	header             http.Header
}

// session is the connections to one server. It is for one goroutine.
type session struct {
	url      string // of the client port
	client   http.Client
	patience time.Duration // how long an answer may take
	streams  map[string]*stream
	saved    []string // pairs of a name and the token that it stands for
}

func newSession(url string, patience time.Duration) *session {
	return &session{
		url:      url,
		patience: patience,
		client: http.Client{
			Transport: &http.Transport{},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
		streams: make(map[string]*stream),
	}
}

func (s *session) close() {
	for _, st := range s.streams {
		st.cancel()
		<-st.ended
	}
	s.client.CloseIdleConnections()
}

func (s *session) do(ctx context.Context, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, s.url+r.path, strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if r.body == "" {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	req.Header = r.header
	return s.client.Do(req)
}

// reply is the head of a response and what has been read of its body.
type reply struct {
	status int
	header http.Header
	lines  []string
	ended  bool
}

// fetch makes a request whose answer ends.
func (s *session) fetch(r request) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	resp, err := s.do(ctx, r)
	if err != nil {
		return reply{}, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return reply{}, err
	}
	a := reply{status: resp.StatusCode, header: resp.Header, ended: true}
	if text := strings.TrimSuffix(string(body), "\n"); text != "" {
		a.lines = strings.Split(text, "\n")
	}
	return a, nil
}

// stream is a request whose answer is read line by line. Its goroutine ends with
// the answer, or when it is canceled.
type stream struct {
	patience time.Duration
	cancel   context.CancelFunc
	head     chan reply
	lines    chan string
	ended    chan struct{}
	err      error // valid once ended is closed
}

// open makes a request and goes on reading its answer.
func (s *session) open(r request) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	st := &stream{
		patience: s.patience, cancel: cancel,
		head: make(chan reply, 1), lines: make(chan string, 1000), ended: make(chan struct{}),
	}
	go func() {
		defer close(st.ended)
		st.err = s.read(ctx, r, st)
	}()
	return st
}

func (s *session) read(ctx context.Context, r request, st *stream) error {
	resp, err := s.do(ctx, r)
	if err != nil {
		return err
	}
	st.head <- reply{status: resp.StatusCode, header: resp.Header}
	in := bufio.NewReader(resp.Body)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if line != "" {
				st.lines <- line + noNewline
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return errors.Join(err, resp.Body.Close())
		}
		st.lines <- strings.TrimSuffix(line, "\n")
	}
}

// next returns the next n lines; ended says that there are fewer.
func (st *stream) next(n int) (lines []string, ended bool, err error) {
	deadline := time.After(st.patience)
	for len(lines) < n {
		select {
		case line := <-st.lines:
			lines = append(lines, line)
			continue
		default:
		}
		select {
		case line := <-st.lines:
			lines = append(lines, line)
		case <-st.ended:
			select {
			case line := <-st.lines:
				lines = append(lines, line)
				continue
			default:
				return lines, true, st.err
			}
		case <-deadline:
			return lines, false, fmt.Errorf("only %d of %d lines came", len(lines), n)
		}
	}
	return lines, false, nil
}

// begin waits for the head of the answer.
func (st *stream) begin() (reply, error) {
	select {
	case head := <-st.head:
		return head, nil
	case <-st.ended:
		select {
		case head := <-st.head:
			return head, nil
		default:
			return reply{}, fmt.Errorf("no answer: %w", st.err)
		}
	case <-time.After(st.patience):
		return reply{}, errors.New("no answer")
	}
}
