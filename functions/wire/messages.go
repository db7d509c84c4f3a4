package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Message is one of several messages that one payload holds: a header block and a
// payload of its own.
type Message struct {
	Header  Header
	Payload []byte
}

// AppendMessage appends a message to a payload that holds several: the length of
// the header block (u16) and that of the payload (u32), both big-endian, and then
// the two. A header of more than [MaxHeader] bytes is not one; a sender checks it.
func AppendMessage(b []byte, h Header, payload []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(min(len(h), MaxHeader)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, h[:min(len(h), MaxHeader)]...)
	return append(b, payload...)
}

// Messages returns the messages that a payload holds, as parts of it. It returns an
// error that wraps [ErrFrame] unless b is a run of whole messages.
func Messages(b []byte) ([]Message, error) {
	var list []Message
	for len(b) > 0 {
		if len(b) < 6 {
			return nil, fmt.Errorf("%w: message %d cut short", ErrFrame, len(list))
		}
		h, p := int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint32(b[2:]))
		if b = b[6:]; len(b) < h || len(b)-h < p {
			return nil, fmt.Errorf("%w: message %d cut short", ErrFrame, len(list))
		}
		m := Message{Header: Header(b[:h:h]), Payload: b[h : h+p : h+p]}
		if err := m.Header.check(); err != nil {
			return nil, err
		}
		list = append(list, m)
		b = b[h+p:]
	}
	return list, nil
}

// ReadMessage reads the next message of a stream of them, of which the payload has at
// most limit bytes. It returns io.EOF at the end between two, io.ErrUnexpectedEOF within
// one, the error of r, and one that wraps [ErrFrame] for what is no message.
func ReadMessage(r io.Reader, limit int) (Message, error) {
	var lengths [6]byte
	if _, err := io.ReadFull(r, lengths[:]); err != nil {
		return Message{}, err
	}
	h, p := int(binary.BigEndian.Uint16(lengths[:])), int(binary.BigEndian.Uint32(lengths[2:]))
	if p > limit {
		return Message{}, fmt.Errorf("%w: a message of %d bytes, at most %d", ErrFrame, p, limit)
	}
	// What is not there yet is not allocated either: the length is only a claim.
	var b bytes.Buffer
	b.Grow(min(h+p, 64<<10))
	if _, err := io.CopyN(&b, r, int64(h+p)); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Message{}, err
	}
	all := b.Bytes()
	m := Message{Header: Header(all[:h:h]), Payload: all[h:]}
	return m, m.Header.check()
}

// AppendItemError appends the error of the item i of a batch, from 0, to a payload
// that [ItemErrors] reads: a message with the headers of an error, and ":number".
func AppendItemError(b []byte, i int, e *Error) []byte {
	return AppendMessage(b, e.header(Header(nil).AddInt(KeyNumber, int64(i))), nil)
}

// ItemErrors returns the errors of items, by number. It returns an error that wraps
// [ErrFrame] unless b is what AppendItemError makes.
func ItemErrors(b []byte) (map[int]*Error, error) {
	list, err := Messages(b)
	if err != nil {
		return nil, err
	}
	items := make(map[int]*Error, len(list))
	for _, m := range list {
		i, ok := m.Header.Int(KeyNumber)
		if !ok {
			return nil, fmt.Errorf("%w: an item without a number", ErrFrame)
		}
		items[int(i)] = errorOf(m.Header)
	}
	return items, nil
}
