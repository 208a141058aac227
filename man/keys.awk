# Writes the key lists of rmqsupervisor.yaml(5), in mdoc, from a table of src/common/params_*.tbl (one row a line).
# First what takes effect, by the table's groups; then what is accepted and does nothing, by the reason.

function type_of(kind) {
	if (kind == "BOOL") return "true or false"
	if (kind == "INT" || kind == "LONG") return "whole number"
	if (kind == "DOUBLE") return "number"
	if (kind == "ROLE" || kind == "FLUSH") return "name"
	return "text"
}
# A sentence begins with a capital, a key stays as it is.
function upper_first(s,    word) {
	word = s
	sub(/ .*/, "", word)
	return (word ~ /[A-Z]/) ? s : toupper(substr(s, 1, 1)) substr(s, 2)
}
function safe(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); return s }

/^\/\* .* \*\/$/ { group = substr($0, 4, length($0) - 6); next }
/^(BOOL|INT|LONG|DOUBLE|STR|ROLE|FLUSH)\(/ {
	kind = substr($0, 1, index($0, "(") - 1)
	n = split(substr($0, index($0, "(") + 1), part, ", ")
	name = part[1]
	line = $0
	sub(/^[^"]*"/, "", line)
	def = substr(line, 1, index(line, "\"") - 1)
	line = substr(line, index(line, "\"") + 3)
	split(line, flag, ", ")
	text = line
	sub(/^[^"]*"/, "", text)
	sub(/"\)$/, "", text)
	if (flag[1] == "NOTHING") {
		if (!(text in keys)) reasons[++reason_count] = text
		keys[text] = keys[text] (keys[text] == "" ? "" : " ") name
		next
	}
	if (group != shown) {
		if (shown != "") print ".El"
		print ".Ss " upper_first(group) "\n.Bl -tag -width Ds"
		shown = group
	}
	item = ".It Cm " name "\n(" type_of(kind) (def == "" ? "" : ", \\(dq" safe(def) "\\(dq")
	item = item (flag[2] == "LIVE" ? ", live" : "") ")\n" upper_first(text) "."
	if (flag[1] == "PARTLY") item = item "\nOnly in part as in the original."
	print item
}
END {
	print ".El"
	print ".Ss Accepted, without effect here\n.Bl -tag -width Ds"
	for (i = 1; i <= reason_count; i++) {
		print ".It " safe(upper_first(reasons[i]))
		n = split(keys[reasons[i]], key, " ")
		for (k = 1; k <= n; k++) print ".Cm " key[k] (k < n ? " ," : "")
	}
	print ".El"
}
