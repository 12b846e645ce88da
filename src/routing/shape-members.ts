// The statements of a text, by its shape: the pieces between semicolons that stand in no quotes and no program body.
// It knows no dialect: what one dialect does not quote with, its shapes do not have.

/** "select ?; delete from t" is two. A body of BEGIN ... END comes apart too: its statements are matched one by one then. */
export function membersOf(shape: string): string[] {
  const members: string[] = [];
  let start = 0;
  let quote = '';
  for (let i = 0; i < shape.length; i++) {
    const character = shape[i]!;
    if (quote !== '') {
      if (character === quote) quote = '';
    } else if (character === '"' || character === '`') quote = character;
    else if (character === ';') {
      members.push(shape.slice(start, i).trim());
      start = i + 1;
    }
  }
  members.push(shape.slice(start).trim());
  return members.filter((member) => member !== '');
}
