package bus

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// filter hands on what a client sends. It writes each line anew, so that the
// server reads what the filter has read, and refuses messages with which something
// would be published outside of the client's inbox: as the answer, or
// by a consumer that is to deliver there.
type filter struct {
	in    *bufio.Reader
	out   *bufio.Writer
	inbox string
}

// What asks JetStream to deliver messages to a subject.
var deliverers = []string{"$JS.API.CONSUMER.CREATE.", "$JS.API.CONSUMER.DURABLE.CREATE.", "$JS.API.STREAM.SNAPSHOT."}

var errProtocol = errors.New("it does not keep to the protocol")

// run returns when the client or the server is gone, or does what no client does.
func (f *filter) run() error {
	for {
		if f.in.Buffered() == 0 {
			if err := f.out.Flush(); err != nil {
				return err
			}
		}
		line, err := readLine(f.in)
		if err != nil {
			return err
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			return errProtocol
		}
		switch op := strings.ToUpper(words[0]); op {
		case "PUB":
			err = f.publish("PUB", words[1:], 1)
		case "HPUB":
			err = f.publish("HPUB", words[1:], 2)
		case "SUB", "UNSUB", "PING", "PONG":
			words[0] = op
			_, err = f.out.WriteString(strings.Join(words, " ") + "\r\n")
		default: // a second CONNECT, too
			err = fmt.Errorf("%w: it sends %q", errProtocol, op[:min(len(op), 10)])
		}
		if err != nil {
			return err
		}
	}
}

// publish hands on a message: its subject, perhaps where answers go, and sizes: that of the headers,
// if there are any, and that of all.
func (f *filter) publish(op string, words []string, sizes int) error {
	if n := len(words); n != 1+sizes && n != 2+sizes {
		return errProtocol
	}
	subject, reply := words[0], ""
	if len(words) == 2+sizes {
		reply = words[1]
	}
	var n [2]int
	for i, w := range words[len(words)-sizes:] {
		size, err := strconv.ParseUint(w, 10, 31)
		if err != nil || size > maxPayload || strings.HasPrefix(w, "+") {
			return fmt.Errorf("a message is larger than %d bytes, or has no size", maxPayload)
		}
		n[i] = int(size)
	}
	headers, total := 0, n[0]
	if sizes == 2 {
		headers, total = n[0], n[1]
	}
	if headers > total {
		return errProtocol
	}
	if reply != "" && !f.own(reply) {
		return f.refuse(total)
	}
	if slices.ContainsFunc(deliverers, func(p string) bool { return strings.HasPrefix(subject, p) }) {
		if total > maxRequest {
			return fmt.Errorf("a request to JetStream is larger than %d bytes", maxRequest)
		}
		body, err := f.body(total)
		if err != nil {
			return err
		}
		if !f.deliversToItself(body[headers:]) {
			return f.refuse(-1)
		}
		return f.forward(op, words, bytes.NewReader(body), total)
	}
	if err := f.forward(op, words, io.LimitReader(f.in, int64(total)), total); err != nil {
		return err
	}
	return f.end()
}

func (f *filter) forward(op string, words []string, body io.Reader, size int) error {
	if _, err := f.out.WriteString(op + " " + strings.Join(words, " ") + "\r\n"); err != nil {
		return err
	}
	if _, err := io.CopyN(f.out, body, int64(size)); err != nil {
		return err
	}
	_, err := f.out.WriteString("\r\n")
	return err
}

// refuse has the server refuse a message of a size, or one that was read.
func (f *filter) refuse(size int) error {
	if size >= 0 {
		if _, err := io.CopyN(io.Discard, f.in, int64(size)); err != nil {
			return err
		}
		if err := f.end(); err != nil {
			return err
		}
	}
	_, err := f.out.WriteString("PUB " + f.refused() + " 0\r\n\r\n")
	return err
}

// refused is the subject that the client is told it may not publish to: it says what to do.
func (f *filter) refused() string {
	if f.inbox == "" {
		return refusedReply + "without.an.inbox"
	}
	return refusedReply + "needs.--inbox-prefix=" + f.inbox
}

// body reads a message to its end.
func (f *filter) body(size int) ([]byte, error) {
	body := make([]byte, size)
	if _, err := io.ReadFull(f.in, body); err != nil {
		return nil, err
	}
	return body, f.end()
}

// end reads what ends a message.
func (f *filter) end() error {
	var crlf [2]byte
	if _, err := io.ReadFull(f.in, crlf[:]); err != nil {
		return err
	}
	if string(crlf[:]) != "\r\n" {
		return errProtocol
	}
	return nil
}

// own reports whether a subject is in the client's inbox.
func (f *filter) own(subject string) bool {
	return f.inbox != "" && strings.HasPrefix(subject, f.inbox+".") && !strings.ContainsAny(subject, "*>")
}

// deliversToItself reports whether what JetStream is asked for is pulled, or delivered
// to the client's inbox. The server reads the request as this does; what follows a
// first value it would add to that, and so nothing may.
func (f *filter) deliversToItself(request []byte) bool {
	var r struct {
		Deliver string `json:"deliver_subject"`
		Config  struct {
			Deliver string `json:"deliver_subject"`
		} `json:"config"`
	}
	if json.Unmarshal(request, &r) != nil {
		return false
	}
	for _, s := range []string{r.Deliver, r.Config.Deliver} {
		if s != "" && !f.own(s) {
			return false
		}
	}
	return true
}
