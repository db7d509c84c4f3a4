package functions

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fnhost/fnhost/functions/wire"
)

// Keys of what [CloudEvent] leaves to Publish, which removes them.
const (
	keyCloudEvent = ":cloudevent" // the type
	keyStructured = ":structured"
)

const (
	attributePrefix = "ce-"
	structuredMode  = "application/cloudevents+json"
)

// CloudEvent makes a message a CloudEvent of a type such as com.example.paid, in
// binary mode: its attributes become headers. Its id is that of [ID], or one that is
// the same when an event is tried again and its function publishes the same in the
// same order, and it is the message's ID as well; its source is /functions/ and the
// function's name; its time is now. Those and others, as subject and extensions,
// are set by [WithHeader]: "ce-source", "ce-subject", and for the content type
// "Content-Type".
func CloudEvent(eventType string) PublishOption {
	return func(h wire.Header) wire.Header { return h.Add(keyCloudEvent, eventType) }
}

// StructuredCloudEvent is as [CloudEvent], in structured mode: attributes and data
// are one JSON object.
func StructuredCloudEvent(eventType string) PublishOption {
	return func(h wire.Header) wire.Header { return h.Add(keyCloudEvent, eventType).Add(keyStructured, "1") }
}

// cloudEvent makes a CloudEvent of what is to be published.
func (s *scope) cloudEvent(h wire.Header, v any, payload []byte) (wire.Header, []byte, error) {
	attributes := map[string]string{"specversion": "1.0", "source": "/functions/" + s.function, "time": time.Now().UTC().Format(time.RFC3339Nano)}
	structured, types := false, 0
	contentType := contentTypeOf(v)
	rest := make(wire.Header, 0, len(h)+256)
	for key, value := range h.All() {
		name, isAttribute := strings.CutPrefix(strings.ToLower(key), attributePrefix)
		switch {
		case key == keyCloudEvent:
			attributes["type"] = value
			types++
		case key == keyStructured:
			structured = true
		case isAttribute:
			attributes[name] = value
		case strings.EqualFold(key, "Content-Type"):
			contentType = value
		case key == headerID:
			attributes["id"] = value
			rest = rest.Add(key, value)
		default:
			rest = rest.Add(key, value)
		}
	}
	if types > 1 {
		return nil, nil, Errorf(BadRequest, "a message is one CloudEvent, of one type and in one mode")
	}
	if attributes["id"] == "" {
		attributes["id"] = s.eventID(h.Get(wire.KeyTarget), attributes["type"], payload)
	}
	if h.Get(headerID) == "" {
		rest = rest.Add(headerID, attributes["id"])
	}
	for name, value := range attributes {
		if value == "" || !validAttribute(name) || !rest.Fits(attributePrefix+name, percentEncode(value)) {
			return nil, nil, Errorf(BadRequest, "attribute %q of a CloudEvent: want a name of a-z and 0-9, and a value that is not empty and not too long", name)
		}
		if !structured {
			rest = rest.Add(attributePrefix+name, percentEncode(value))
		}
	}
	if !structured {
		return rest.Add("Content-Type", contentType), payload, nil
	}
	payload, err := envelope(attributes, contentType, payload)
	return rest.Add("Content-Type", structuredMode), payload, err
}

// validAttribute reports whether a CloudEvent can have an attribute of that name.
func validAttribute(name string) bool {
	return name != "" && name != "data" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// envelope is a CloudEvent in structured mode.
func envelope(attributes map[string]string, contentType string, data []byte) ([]byte, error) {
	object := map[string]any{"datacontenttype": contentType}
	for name, value := range attributes {
		object[name] = value
	}
	switch {
	case len(data) == 0:
	case strings.HasPrefix(contentType, "text/") && utf8.Valid(data):
		object["data"] = string(data)
	case !isJSON(contentType):
		object["data_base64"] = base64.StdEncoding.EncodeToString(data)
	case !json.Valid(data):
		return nil, Errorf(BadRequest, "the data of a CloudEvent are no JSON, and its content type is %s", contentType)
	default:
		object["data"] = json.RawMessage(data)
	}
	return json.Marshal(object)
}

// isJSON reports whether a content type is that of JSON.
func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	media = strings.TrimSpace(media)
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// contentTypeOf is that of what is published, unless somebody says otherwise.
func contentTypeOf(v any) string {
	switch v.(type) {
	case []byte, *[]byte:
		return "application/octet-stream"
	case string, *string:
		return "text/plain; charset=utf-8"
	}
	return "application/json"
}

// eventID names what an invocation publishes. One that an event has started gives
// the same names when it is tried again, if it publishes the same in the same order.
func (s *scope) eventID(subject, eventType string, payload []byte) string {
	n := s.published.Add(1)
	sum := fnv.New128a()
	started := "invocation " + s.header.Get(wire.KeyInvocation)
	if sequence := s.header.Get(wire.KeySequence); sequence != "" {
		started = s.header.Get(wire.KeyStream) + " " + sequence + " " + s.header.Get(wire.KeyTime)
	}
	fmt.Fprintf(sum, "%s\n%s\n%s\n%s\n%s\n%d\n", s.function, s.header.Get(wire.KeyEndpoint), started, subject, eventType, n)
	sum.Write(payload)
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// percentEncode writes an attribute as a header may have it.
func percentEncode(value string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			b.WriteString(string([]byte{'%', hex[c>>4], hex[c&15]}))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// percentDecode reads an attribute of a header. What is not encoded stays as it is.
func percentDecode(value string) string {
	if !strings.Contains(value, "%") {
		return value
	}
	if decoded, err := url.PathUnescape(value); err == nil {
		return decoded
	}
	return value
}

// isCloudEvent reports whether a body is a CloudEvent in structured mode: by its
// content type, or if a message has none, by what is in it, since some senders
// write no headers.
func isCloudEvent(h wire.Header, body []byte) bool {
	contentType, ok := h.Lookup("Content-Type")
	if !ok {
		return h.Get(wire.KeySubject) != "" && looksLikeCloudEvent(body)
	}
	if len(contentType) < len(structuredMode) || !strings.EqualFold(contentType[:len(structuredMode)], structuredMode) {
		return false
	}
	rest := strings.TrimSpace(contentType[len(structuredMode):])
	return rest == "" || rest[0] == ';'
}

// bareData returns a body without the CloudEvent around it, if it is one.
func bareData(h wire.Header, body []byte) []byte {
	if !isCloudEvent(h, body) {
		return body
	}
	e := Event{Data: body}
	e.structured()
	return e.Data
}

func looksLikeCloudEvent(body []byte) bool {
	if !bytes.Contains(body, []byte(`"specversion"`)) {
		return false
	}
	var required struct{ SpecVersion, ID, Source, Type string }
	return json.Unmarshal(body, &required) == nil && required.SpecVersion == "1.0" && required.ID != "" && required.Source != "" && required.Type != ""
}

// structured takes a CloudEvent in structured mode apart, so that it is as one in
// binary mode; what is none stays as it is.
func (e *Event) structured() {
	var object map[string]json.RawMessage
	if json.Unmarshal(e.Data, &object) != nil {
		return
	}
	attributes := make(map[string]string)
	for name, raw := range object {
		var text string
		if name == "data" || name == "data_base64" || string(raw) == "null" {
			continue
		}
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw) // a number, true or false
		}
		attributes[strings.ToLower(name)] = text
	}
	if !strings.HasPrefix(attributes["specversion"], "1.") {
		return
	}
	contentType := attributes["datacontenttype"]
	if contentType == "" {
		contentType = "application/json"
	}
	delete(attributes, "datacontenttype")
	e.Data = dataOf(object, contentType)
	for key := range e.Header {
		if strings.EqualFold(key, "Content-Type") {
			delete(e.Header, key)
		}
	}
	if e.Header == nil {
		e.Header = make(map[string][]string)
	}
	e.Header["Content-Type"] = []string{contentType}
	for name, value := range attributes {
		e.setAttribute(attributePrefix+name, value)
	}
}

// dataOf returns the data of a CloudEvent in structured mode.
func dataOf(object map[string]json.RawMessage, contentType string) []byte {
	var text string
	if json.Unmarshal(object["data_base64"], &text) == nil && text != "" {
		if data, err := base64.StdEncoding.DecodeString(text); err == nil {
			return data
		}
	}
	if !isJSON(contentType) && json.Unmarshal(object["data"], &text) == nil {
		return []byte(text)
	}
	return object["data"]
}

// setAttribute keeps an attribute of a CloudEvent, whose key is in lower case.
func (e *Event) setAttribute(key, value string) {
	e.Header[key] = append(e.Header[key][:0], value)
	switch key {
	case "ce-id":
		e.ID = value
	case "ce-source":
		e.Source = value
	case "ce-type":
		e.Type = value
	}
}
