// What the edge decides about each request. The tables come from the plan; everything not in them is refused.
// Runs on njs in both of its engines: no destructuring, no regular expressions over request bodies (they are slow on long texts).
import crypto from 'crypto';
import tables from 'tables.js';

const MAX_MEMBERS = 1000;  // of a body's top level; more is no inference request
const SERVER_FIELDS = ['model', 'backend'];  // LocalAI reads them in any letter case, the last one winning

const IMAGES = ['"image_url"', '"source"'];  // members that hold an image: OpenAI's and Anthropic's

const QUOTE = 0x22, COMMA = 0x2c, COLON = 0x3a, BACKSLASH = 0x5c;
const OPEN = [0x7b, 0x5b], CLOSE = [0x7d, 0x5d];

function has(object, key) {
    return Object.prototype.hasOwnProperty.call(object, key);
}

// Which route a path is, and the model it names: {action, path, model}, or null for none.
function route(method, uri) {
    const parts = uri.split('/');
    if (parts[1] === 'models' && parts[3] === 'v1') {
        return found(method, parts.slice(4).join('/'), parts[2]);
    }
    if (parts[1] !== 'v1') {
        return null;
    }
    if (parts[2] === 'models' && parts.length > 4) {
        return method === 'POST' ? found(method, parts.slice(4).join('/'), parts[3]) : null;
    }
    return found(method, parts.slice(2).join('/'), null);
}

function found(method, rest, model) {
    if (model === '') {
        return null;
    }
    if (method === 'POST' && has(tables.routes, '/v1/' + rest)) {
        return {action: 'infer', path: '/v1/' + rest, model: model};
    }
    if (method !== 'GET') {
        return null;
    }
    if (rest === 'models') {
        return {action: 'list', path: '/v1/models', model: model};
    }
    if (rest.slice(0, 7) === 'models/' && rest.length > 7 && rest.indexOf('/', 7) < 0) {
        return {action: 'show', path: '/v1/models/NAME', model: rest.slice(7), only: model};
    }
    return null;
}

// The consumer whose key the request carries, or null. Only the key's SHA-256 is known here.
function consumer(r) {
    const authorization = r.headersIn['Authorization'] || '';
    let key = r.headersIn['x-api-key'] || '';
    if (authorization.slice(0, 7).toLowerCase() === 'bearer ') {
        key = authorization.slice(7).trim();
    }
    if (!key) {
        return null;
    }
    const digest = crypto.createHash('sha256').update(key).digest('hex');
    return has(tables.consumers, digest) ? tables.consumers[digest] : null;
}

function may(who, model) {
    return has(tables.models, model) && (who.models === null || who.models.indexOf(model) >= 0);
}

// Decides before the body is read: "" to go on, or the status to refuse with.
function gate(r) {
    const where = route(r.method, r.uri);
    if (!where) {
        return '404';
    }
    r.variables.edge_route = where.path;
    const who = consumer(r);
    if (!who) {
        return '401';
    }
    r.variables.edge_consumer = who.name;
    return where.action === 'infer' && !isJson(r) ? '415' : '';
}

function isJson(r) {
    const type = (r.headersIn['Content-Type'] || '').split(';')[0].trim().toLowerCase();
    const encoding = (r.headersIn['Content-Encoding'] || 'identity').trim().toLowerCase();
    return type === 'application/json' && encoding === 'identity';
}

function handle(r) {
    const where = route(r.method, r.uri);
    const who = consumer(r);
    try {
        if (where.action === 'infer') {
            infer(r, where, who);
        } else if (where.action === 'list') {
            list(r, where.model, who);
        } else {
            show(r, where, who);
        }
    } catch (error) {
        refuse(r, error);
    }
}

function list(r, only, who) {
    if (only !== null && !may(who, only)) {
        throw unknown(only);
    }
    const names = Object.keys(tables.models).filter((name) => may(who, name) && (only === null || name === only));
    answer(r, 200, {object: 'list', data: names.map(described)});
}

function show(r, where, who) {
    if (!may(who, where.model) || (where.only !== null && where.only !== where.model)) {
        throw unknown(where.model);
    }
    answer(r, 200, described(where.model));
}

function described(name) {
    return {id: name, object: 'model'};
}

function infer(r, where, who) {
    const body = r.requestBuffer;
    if (!body || body.length === 0) {
        throw refusal(400, 'The request has no body. Send a JSON object with "model".');
    }
    const members = topLevel(body);
    const model = where.model === null ? asked(body, members) : where.model;
    if (!may(who, model)) {
        throw unknown(model);
    }
    const kind = tables.models[model].kind;
    if (tables.routes[where.path].indexOf(kind) < 0) {
        throw refusal(400, 'The model "' + model + '" is of kind ' + kind + ' and does not answer ' + where.path + '.');
    }
    checkImages(body, model);
    r.variables.edge_model = model;
    r.variables.edge_upstream = tables.models[model].upstream;
    if (canonical(body, members, model)) {
        r.internalRedirect('/_infer/as_it_is');
        return;
    }
    r.rawVariables.edge_body = rewritten(body, members, model);
    r.internalRedirect('/_infer/rewritten');
}

// LocalAI leaves out an image that it cannot fetch, and it has no way out: the answer would be of a model that saw nothing.
function checkImages(body, model) {
    IMAGES.forEach((name) => {
        for (let at = body.indexOf(name); at >= 0; at = body.indexOf(name, at + 1)) {
            const kind = imageKind(body, at + name.length);
            if (kind !== null && !tables.models[model].images) {
                throw refusal(400, 'The model "' + model + '" does not read images.');
            }
            if (kind === 'address') {
                throw refusal(400, 'Images are not fetched from an address. Send the image itself, as a data: URL.');
            }
        }
    });
}

// What stands behind the name of such a member: "data" or "address" for an image, null for anything else, as for a word in a text.
function imageKind(body, end) {
    const colon = blanks(body, end);
    const at = blanks(body, colon + 1);
    if (body[colon] !== COLON) {
        return null;
    }
    return body[at] === QUOTE ? urlKind(body, at) : body[at] === OPEN[0] ? objectKind(body, at) : null;
}

function urlKind(body, at) {
    const start = body.slice(at + 1, at + 6).toString().toLowerCase();
    return start === 'data:' ? 'data' : start.slice(0, 4) === 'http' ? 'address' : null;
}

function objectKind(body, start) {
    let at = blanks(body, start + 1);
    while (body[at] === QUOTE) {
        const member = oneMember(body, at);
        const name = body.slice(at, at + 12).toString();
        if (name.slice(0, 5) === '"url"' && body[member.value] === QUOTE) {
            return urlKind(body, member.value);
        }
        if (name === '"media_type"' && body.slice(member.value, member.value + 7).toString() === '"image/') {
            return 'data';
        }
        at = blanks(body, member.end);
        if (body[at] !== COMMA) {
            return null;
        }
        at = blanks(body, at + 1);
    }
    return null;
}

// Whether the body says in one plain way what is asked: then it goes on as it is, and nothing is copied.
function canonical(body, members, model) {
    const fields = members.filter((member) => member.field !== null);
    return fields.length === 1
        && body.slice(fields[0].start, fields[0].value).toString().slice(0, 7) === '"model"'
        && body.slice(fields[0].value, fields[0].end).toString() === JSON.stringify(model);
}

// The model a body asks for, read as LocalAI reads it: the last of its `model` members in any letter case.
function asked(body, members) {
    const named = members.filter((member) => member.field === 'model');
    if (named.length === 0) {
        throw refusal(400, 'The request names no model. Add "model" to the body; GET /v1/models lists what there is.');
    }
    const last = named[named.length - 1];
    let value = null;
    try {
        value = JSON.parse(body.slice(last.value, last.end).toString());
    } catch (error) {
        throw malformed(last.value);
    }
    if (typeof value !== 'string' || value === '') {
        throw refusal(400, 'The "model" of the request is not a name. GET /v1/models lists what there is.');
    }
    return value;
}

// The same object with exactly one `model` and no `backend`. All other bytes stay as they are, so large integers do too.
function rewritten(body, members, model) {
    const pieces = [Buffer.from('{"model":' + JSON.stringify(model))];
    const comma = Buffer.from(',');
    members.forEach((member) => {
        if (member.field === null) {
            pieces.push(comma);
            pieces.push(body.slice(member.start, member.end));
        }
    });
    pieces.push(Buffer.from('}'));
    return Buffer.concat(pieces);
}

// The members of a JSON object: {field, start, value, end}, offsets in bytes; field is the server field it sets, or null.
// What lies deeper is only skipped: a body that is no JSON there is refused by LocalAI as a whole.
function topLevel(body) {
    const members = [];
    let at = blanks(body, 0);
    if (body[at] !== OPEN[0]) {
        throw refusal(400, 'The body is not a JSON object.');
    }
    at = blanks(body, at + 1);
    while (body[at] !== CLOSE[0] || members.length > 0) {
        const member = oneMember(body, at);
        members.push(member);
        if (members.length > MAX_MEMBERS) {
            throw refusal(400, 'The body has more than ' + MAX_MEMBERS + ' members.');
        }
        at = blanks(body, member.end);
        if (body[at] === CLOSE[0]) {
            break;
        }
        if (body[at] !== COMMA) {
            throw malformed(at);
        }
        at = blanks(body, at + 1);
    }
    if (blanks(body, at + 1) !== body.length) {
        throw malformed(at + 1);
    }
    return members;
}

function oneMember(body, start) {
    if (body[start] !== QUOTE) {
        throw malformed(start);
    }
    const close = pastString(body, start);
    const colon = blanks(body, close);
    if (body[colon] !== COLON) {
        throw malformed(colon);
    }
    const value = blanks(body, colon + 1);
    const end = pastValue(body, value);
    if (end === value) {
        throw malformed(value);
    }
    return {field: serverField(body, start, close), start: start, value: value, end: end};
}

function serverField(body, start, end) {
    let key;
    try {
        key = JSON.parse(body.slice(start, end).toString());
    } catch (error) {
        throw malformed(start);
    }
    // Go compares keys by Unicode folding, in which the Kelvin sign is a k and the long s an s.
    const folded = key.split('\u212a').join('k').split('\u017f').join('s').toLowerCase();
    return SERVER_FIELDS.indexOf(folded) >= 0 ? folded : null;
}

// Where a string ends. Most are short, and then looking byte by byte is faster than asking for the next quote.
function pastString(body, start) {
    const near = Math.min(start + 24, body.length);
    let at = start + 1, byte = 0;
    while (at < near) {
        byte = body[at];
        if (byte === QUOTE) {
            return at + 1;
        }
        at += byte === BACKSLASH ? 2 : 1;
    }
    for (;;) {
        at = body.indexOf(QUOTE, at);
        if (at < 0) {
            throw malformed(start);
        }
        let escapes = 0;
        while (at - 1 - escapes > start && body[at - 1 - escapes] === BACKSLASH) {
            escapes++;
        }
        at++;
        if (escapes % 2 === 0) {
            return at;
        }
    }
}

// Where a value of the top level ends: before the comma or the brace that follows it, blanks left out.
function pastValue(body, start) {
    const length = body.length;
    let depth = 0, end = start, at = start, byte = 0;
    while (at < length) {
        byte = body[at];
        if (byte === QUOTE) {
            at = pastString(body, at);
            end = at;
            continue;
        }
        if (byte === 0x7b || byte === 0x5b) {
            depth++;
        } else if (byte === 0x7d || byte === 0x5d) {
            if (depth === 0) {
                return end;
            }
            depth--;
        } else if (byte === COMMA && depth === 0) {
            return end;
        }
        at++;
        if (byte > 0x20) {
            end = at;
        }
    }
    throw malformed(length);
}

function blanks(body, at) {
    while (body[at] === 0x20 || body[at] === 0x0a || body[at] === 0x0d || body[at] === 0x09) {
        at++;
    }
    return at;
}

function refusal(status, message) {
    return {status: status, message: message};
}

function malformed(at) {
    return refusal(400, 'The body is not valid JSON at byte ' + at + '.');
}

function unknown(model) {
    const shown = model.length > 64 ? model.slice(0, 64) + '...' : model;
    return refusal(404, 'The model "' + shown + '" does not exist or this key may not use it. GET /v1/models lists what there is.');
}

function refuse(r, error) {
    if (!error.status) {
        r.variables.edge_fault = error.name + ': ' + error.message;
    }
    const status = error.status || 500;
    answer(r, status, {error: {
        code: status,
        message: error.status ? error.message : 'The edge failed to handle this request.',
        type: status === 500 ? 'server_error' : 'invalid_request_error',
        param: null,
    }});
}

function answer(r, status, object) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(status, JSON.stringify(object) + '\n');
}

export default {gate: gate, handle: handle};
